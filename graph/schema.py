"""The schema, assembled: root types from the nouns, scalars, and how operations get in.

Nothing is decided here. `manage.py export_schema graph.schema:schema` prints schema.graphql.
"""

import strawberry
from django.conf import settings
from strawberry.schema.config import StrawberryConfig

from graph.accounts import AccountMutations
from graph.assets import AssetQueries
from graph.audit import AuditQueries
from graph.backups import BackupMutations, BackupQueries
from graph.bulk import BulkMutations
from graph.capabilities import CapabilityMutations, CapabilityQueries
from graph.devices import DeviceMutations, DeviceQueries
from graph.documents import Executor, Prepared
from graph.invitations import InvitationMutations, InvitationQueries
from graph.library import AssetMutations
from graph.members import MemberQueries
from graph.memberships import MembershipMutations
from graph.nodes import NodeQueries
from graph.playback import PlaybackMutations, PlaybackQueries
from graph.players import PlayerMutations
from graph.scalars import SCALARS
from graph.sharing import ShareMutations
from graph.subscriptions import Subscription
from graph.tags import TagQueries
from graph.tenant_life import TenantLifeMutations
from graph.tenants import TenantMutations, TenantQueries
from graph.tokens import TokenMutations, TokenQueries
from graph.uploads import UploadMutations, UploadQueries


@strawberry.type(
    description=(
        "What can be read. Each operation sees one consistent moment and the tenant it entered: by "
        "the tenant's host, or by the header `X-Tenant-ID` on the platform's own."
    )
)
class Query(
    MemberQueries,
    InvitationQueries,
    TenantQueries,
    AssetQueries,
    TagQueries,
    AuditQueries,
    TokenQueries,
    CapabilityQueries,
    DeviceQueries,
    UploadQueries,
    BackupQueries,
    PlaybackQueries,
    NodeQueries,
):
    """The root of reads."""


@strawberry.type(
    description=(
        "What can be changed. Mutations of one request run in order. Each is done as a whole or "
        "refused in its payload's `errors` and then leaves nothing behind, and those beside it "
        "stay. Any can be refused with CONFLICT while somebody else changes the same: try again. "
        "When one fails for a reason of ours (an error with the code INTERNAL), the whole request "
        "is undone."
    )
)
class Mutation(
    TokenMutations,
    TenantMutations,
    TenantLifeMutations,
    MembershipMutations,
    InvitationMutations,
    AssetMutations,
    BulkMutations,
    UploadMutations,
    BackupMutations,
    CapabilityMutations,
    DeviceMutations,
    PlayerMutations,
    PlaybackMutations,
    ShareMutations,
    AccountMutations,
):
    """The root of writes."""


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[Prepared],
    execution_context_class=Executor,
    config=StrawberryConfig(
        scalar_map=SCALARS,
        disable_field_suggestions=not settings.DEBUG,
    ),
)
