"""What operations come to: exact numbers, and how many nodes were looked at to know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from graphql import GraphQLSchema, build_schema, get_introspection_query, parse
from graphql.utilities import get_operation_ast

from graph.limits import cost_of
from graph.measuring import (
    MANY,
    MUTATION_COST,
    FragmentInItself,
    Measured,
    NestedTooDeeply,
    measure,
    sizes,
)
from graph.schema import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: GraphQLSchema = schema._schema
PAGE = "edges { cursor node { id name } } pageInfo { hasNextPage } totalCount"
# For each item a cursor, the node and two fields of it; around them the list, pageInfo, its field,
# totalCount and the connection itself.
EACH, AROUND = 4, 5


def measured(
    text: str, variables: Mapping[str, Any] | None = None, *, on: GraphQLSchema = SCHEMA
) -> Measured:
    document = parse(text)
    operation = get_operation_ast(document)
    assert operation is not None
    return measure(on, document, operation, variables or {})


@pytest.mark.parametrize(
    ("arguments", "variables", "items"),
    [
        ("", {}, 50),
        ("(first: 7)", {}, 7),
        ("(last: 7)", {}, 7),
        ("(first: 0)", {}, 0),
        ("(first: -5)", {}, 0),
        ("(first: null)", {}, 50),
        ("(first: 3, last: 9)", {}, 9),
        ("(first: 501)", {}, 500),
        ("(first: 99999999999999999999)", {}, 500),
        ("(first: 1.5)", {}, 50),
        ("(first: $n)", {}, 50),
        ("(first: $n)", {"n": 7}, 7),
        ("(first: $n)", {"n": 7.0}, 7),
        ("(first: $n)", {"n": None}, 50),
        ("(first: $n)", {"n": -1}, 0),
        ("(first: $n)", {"n": 10**30}, 500),
        ("(first: $n)", {"n": True}, 50),
        ("(first: $n)", {"n": "7"}, 50),
        ("(first: $n)", {"n": [7]}, 50),
        ("(first: $n, last: $m)", {"n": 3}, 12),
        ("(first: $n, last: $m)", {"n": 3, "m": 4}, 4),
    ],
)
def test_pages_multiply_what_is_asked_of_each_item(
    arguments: str, variables: dict[str, Any], items: int
) -> None:
    found = measured(
        f"query($n: Int, $m: Int = 12) {{ assets{arguments} {{ {PAGE} }} }}", variables
    )
    assert found.values == items * EACH + AROUND


def test_pages_inside_pages_multiply() -> None:
    # Ten tenants, of each a node, and a connection of twenty members with a node and an id each.
    text = (
        "query($n: Int) { tenants(first: 10) { edges { node { "
        "memberships(first: $n) { edges { node { id } } } } } } }"
    )
    assert measured(text, {"n": 20}).values == 1 + 1 + 10 * (1 + 1 + 1 + 20 * 2)
    assert measured(text, {"n": 20}).sized_by == ("n",)


def test_lists_of_ids_are_as_long_as_they_are() -> None:
    text = "query($ids: [ID!]!) { nodes(ids: $ids) { id __typename } }"
    assert measured(text, {"ids": ["a", "b", "c"]}).values == 1 + 3 * 2
    assert measured(text, {"ids": "a"}).values == 1 + 2
    assert measured('{ nodes(ids: ["a", "b"]) { id } }').values == 1 + 2


def test_what_differs_in_no_size_measures_the_same() -> None:
    names = ("n",)
    assert sizes(names, {"n": 5}) == sizes(names, {"n": 5, "other": 1}) == (5,)
    assert sizes(names, {"n": ["a"]}) == sizes(names, {"n": ["b"]}) == (1,)
    told = [sizes(names, one) for one in ({}, {"n": None}, {"n": -1}, {"n": 5})]
    assert len(set(told)) == 4


def test_what_is_written_is_counted_where_it_stands() -> None:
    found = measured(
        "query($a: Boolean = true) @d { me @include(if: $a) { x: id id id ...F } y: me { id } } "
        "fragment F on Viewer { username z: id @skip(if: false) }"
    )
    weight = found.weight
    assert (weight.depth, weight.width, weight.aliases, weight.directives) == (2, 2, 3, 3)
    assert (weight.fields, found.repeated, found.variables) == (8, 1, 1)


def test_mutations_weigh_more_than_what_they_answer() -> None:
    found = measured('mutation { deleteAsset(input: {id: "a"}) { errors { code } } }')
    assert found.values == MUTATION_COST + 3


def test_literals_are_found_wherever_they_are() -> None:
    for text in (
        '{ asset(assetId: "12345678") { id } }',
        '{ assets(filter: {tags: {any: ["1", "12345678"]}}) { totalCount } }',
        'query($v: String = "12345678") { asset(assetId: $v) { id } }',
        '{ me @include(if: "12345678") { id } }',
        "{ assets(first: 12345678) { totalCount } }",
    ):
        assert measured(text).longest_literal == 8


def test_the_standard_introspection_costs_a_quarter_of_what_an_operation_may() -> None:
    found = measured(
        get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
        )
    )
    assert (found.weight.depth, found.values) == (1, 1)
    assert 10 <= found.weight.description_depth <= 20
    assert 2_000 < cost_of(found) < 10_000


@pytest.mark.parametrize("depth", [20, 40, 80])
def test_exponential_fragments_take_as_many_steps_as_they_have_nodes(depth: int) -> None:
    chain = " ".join(
        f"fragment F{n} on Viewer {{ a: membership {{ id }} ...F{n + 1} ...F{n + 1} }}"
        for n in range(depth)
    )
    found = measured(f"{{ me {{ ...F0 }} }} {chain} fragment F{depth} on Viewer {{ id }}")
    # In each link a field, one inside it and two spreads; around them me, a spread and an id.
    assert found.steps == 4 * depth + 3
    assert found.weight.fields == min(MANY, 2 * (2**depth - 1) + 2**depth + 1)


def test_a_fragment_in_itself_is_found() -> None:
    with pytest.raises(FragmentInItself, match="A"):
        measured("{ me { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }")


@pytest.mark.parametrize(
    "text",
    [
        "{" + " ... {" * 101 + "me { id }" + "}" * 102,
        "{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(101)),
    ],
)
def test_what_nests_too_deeply_is_not_followed(text: str) -> None:
    with pytest.raises(NestedTooDeeply):
        measured(text)


@pytest.mark.parametrize(
    "text",
    [
        "{ nothing { at { all } } }",
        "{ me { ...Nowhere } }",
        "{ me { ...F } } fragment F on Nobody { a { b } }",
        "subscription { a { b } }",
        "{ assets(first: $unknown) { edges { node { id } } } }",
        "{ me { __schema { types { name } } } }",
    ],
)
def test_what_makes_no_sense_is_counted_all_the_same(text: str) -> None:
    assert measured(text).weight.depth >= 1


GUESSING = build_schema(
    """
    type Query { a: Int }
    input ChangePasswordInput { currentPassword: String!, newPassword: String! }
    input ConfirmInput { code: String! }
    input ShareInput { password: String }
    type Mutation {
      changePassword(input: ChangePasswordInput!): Int
      confirm(input: ConfirmInput!): Int
      share(input: ShareInput!): Int
    }
    """
)


@pytest.mark.parametrize(
    ("fields", "guesses"),
    [
        ('share(input: {password: "x"})', 0),
        ('changePassword(input: {currentPassword: "x", newPassword: "y"})', 1),
        ('confirm(input: {code: "1"}) b: confirm(input: {code: "2"})', 2),
        ("...F ...F", 4),
    ],
)
def test_passwords_and_codes_to_try_are_counted(fields: str, guesses: int) -> None:
    fragment = 'fragment F on Mutation { confirm(input: {code: "1"}) b: confirm(input: $b) }'
    assert measured(f"mutation {{ {fields} }} {fragment}", on=GUESSING).weight.guesses == guesses
