"""What a member may do, derived from the roles he holds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """A right that routes ask for, spelled as in the API."""

    CAN_ACCESS_ADMIN = "canAccessAdmin"
    CAN_MODERATE = "canModerate"
    CAN_UPLOAD_WITHOUT_MODERATION = "canUploadWithoutModeration"
    CAN_AUDIT = "canAudit"


ADMINISTRATOR = "administrator"
MODERATOR = "moderator"
BUILT_IN: Mapping[str, frozenset[Permission]] = {
    ADMINISTRATOR: frozenset(Permission),
    MODERATOR: frozenset({Permission.CAN_MODERATE, Permission.CAN_UPLOAD_WITHOUT_MODERATION}),
}
"""Permissions of the two roles every site has; they can't be edited or removed."""
