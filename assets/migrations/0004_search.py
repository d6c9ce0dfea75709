"""Search by text and tags, and an index for every order that lists of assets are offered in."""

import django.contrib.postgres.indexes
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import assets.querysets
import assets.search
from rls import DefinerFunction, LookupColumns

# As in assets.search, where queries say the same.
_SEPARATORS = r"[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f\u00a0\u2000-\u206f\u3000-\u303f]"
# Every three characters in a row of the text in lower case, each behind the last eight digits of
# the tenant's id, so that looking one up finds next to nobody else's rows. A separator becomes two
# spaces, and so does the text's beginning: "  l", " lo", "lob" are how "lobby" begins.
_SEARCH_GRAMS = rf"""
CREATE FUNCTION search_grams(tenant uuid, content text, begins boolean) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  gram text := right(tenant::text, 8) || E'\\&\x01';
  body text := CASE WHEN begins THEN '  ' ELSE '' END
    || regexp_replace(lower(content), '{_SEPARATORS}', '  ', 'g');
  size integer := length(body);
BEGIN
  RETURN string_to_array(rtrim(
    regexp_replace(left(body, size - size % 3), '...', gram, 'g')
    || regexp_replace(substr(body, 2, greatest(size - 1 - (size + 2) % 3, 0)), '...', gram, 'g')
    || regexp_replace(substr(body, 3, greatest(size - 2 - (size + 1) % 3, 0)), '...', gram, 'g'),
    E'\x01'), E'\x01');
END $$
"""
# A whole tag is a gram too. Its `=` is a separator, so that no other gram has one.
_TAG_GRAMS = r"""
CREATE FUNCTION tag_grams(tenant uuid, tags text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
  mark text := right(tenant::text, 8) || '=';
  joined text := array_to_string(tags, E'\x01');
BEGIN
  IF cardinality(tags) = 0 THEN
    RETURN '{}';
  END IF;
  RETURN string_to_array(mark || replace(joined, E'\x01', E'\x01' || mark), E'\x01');
END $$
"""
_ASSET_GRAMS = r"""
CREATE FUNCTION asset_grams(tenant uuid, name text, description text, tags text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN public.tag_grams(tenant, tags) || public.search_grams(
    tenant,
    concat_ws(E'\x01', name, NULLIF(description, ''), array_to_string(tags, E'\x01')),
    true);
END $$
"""
# The ids of the entered tenant's assets that may be meant; NULL when there are more than that. OFFSET
# 0 keeps the tenant's condition away from the indexes: the planner may not read all of the tenant's
# rows through one of those that begin with the tenant.
_FEW = """
SELECT CASE WHEN count(*) <= 5000 THEN COALESCE(array_agg(few.id), '{{}}') END FROM (
  SELECT found.id FROM (
    SELECT a.id, a.tenant_id FROM assets a
    WHERE asset_grams(a.tenant_id, a.name, a.description, a.tags) COLLATE "C" {} OFFSET 0
  ) found WHERE found.tenant_id = get_tenant_context() LIMIT 5001
) few
"""
# The arguments are needles: every one has to be found.
_SEARCH_ASSETS = _FEW.format("""@> (
      SELECT COALESCE(array_agg(DISTINCT gram), '{}') FROM (
        SELECT unnest(search_grams(get_tenant_context(), word, false)) FROM unnest(containing) word
        UNION ALL
        SELECT unnest(search_grams(get_tenant_context(), word, true)) FROM unnest(beginning) word
        UNION ALL
        SELECT unnest(tag_grams(get_tenant_context(), tagged))
      ) needles (gram)
    )""")
# One of the tags has to be there.
_TAGGED_ASSETS = _FEW.format("&& tag_grams(get_tenant_context(), tagged)")


class Migration(migrations.Migration):
    dependencies = [
        ("assets", "0003_playback"),
        ("tenancy", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(_SEARCH_GRAMS, "DROP FUNCTION search_grams(uuid, text, boolean)"),
        migrations.RunSQL(_TAG_GRAMS, "DROP FUNCTION tag_grams(uuid, text[])"),
        migrations.RunSQL(_ASSET_GRAMS, "DROP FUNCTION asset_grams(uuid, text, text, text[])"),
        migrations.AddField(
            model_name="asset",
            name="sort_mimetype",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.functions.text.Lower(
                    django.db.models.functions.text.Left(
                        django.db.models.functions.comparison.Coalesce(
                            "mimetype", models.Value("\U0010ffff")
                        ),
                        200,
                    )
                ),
                output_field=models.TextField(db_collation="C"),
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["tenant", "sort_mimetype", "id"], name="assets_by_mimetype"),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                models.F("tenant"),
                assets.querysets.NumberOrMost("duration"),
                models.F("id"),
                name="assets_by_duration",
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                models.F("tenant"),
                assets.querysets.NumberOrMost("file_size"),
                models.F("id"),
                name="assets_by_file_size",
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(fields=["tenant", "view_count", "id"], name="assets_by_view_count"),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                models.F("tenant"),
                assets.querysets.DateOrNever("last_viewed"),
                models.F("id"),
                name="assets_by_last_viewed",
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=django.contrib.postgres.indexes.GinIndex(
                django.db.models.functions.comparison.Collate(
                    assets.search.AssetGrams("tenant", "name", "description", "tags"), "C"
                ),
                name="assets_by_grams",
            ),
        ),
        LookupColumns("assets", ("id", "tenant_id", "name", "description", "tags")),
        DefinerFunction(
            "search_assets",
            "containing text[], beginning text[], tagged text[]",
            "uuid[]",
            _SEARCH_ASSETS,
        ),
        DefinerFunction("tagged_assets", "tagged text[]", "uuid[]", _TAGGED_ASSETS),
    ]
