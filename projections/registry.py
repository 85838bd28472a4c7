"""All projections of the event log, in the order in which they are stepped."""

from __future__ import annotations

from projections.access import AccessProjection
from projections.address_bans import AddressBansProjection
from projections.comments import CommentsProjection
from projections.cross_seeds import CrossSeedsProjection
from projections.engine import Projection
from projections.favorites import FavoritesProjection
from projections.follows import FollowsProjection
from projections.forum import ForumProjection
from projections.history import HistoryProjection
from projections.invitations import InvitationsProjection
from projections.moderation import ModerationProjection
from projections.notices import NoticesProjection
from projections.profiles import ProfilesProjection
from projections.reports import ReportsProjection
from projections.site import SiteProjection
from projections.stats import StatsProjection
from projections.tags import TagsProjection
from projections.taxonomy import TaxonomyProjection
from projections.torrents import TorrentsProjection
from projections.upload_rules import UploadRulesProjection
from projections.users import UsersProjection

ALL: tuple[Projection, ...] = (
    HistoryProjection(),
    SiteProjection(),
    UsersProjection(),
    ProfilesProjection(),
    FollowsProjection(),
    InvitationsProjection(),
    TaxonomyProjection(),
    TagsProjection(),
    UploadRulesProjection(),
    TorrentsProjection(),
    CrossSeedsProjection(),
    ModerationProjection(),
    ReportsProjection(),
    NoticesProjection(),
    CommentsProjection(),
    FavoritesProjection(),
    ForumProjection(),
    AddressBansProjection(),
    AccessProjection(),
    StatsProjection(),
)
