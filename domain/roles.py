"""The roles of a site: what they permit, how they look, and who gets them by a rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import ClassVar, Final, Literal
from uuid import UUID

import msgspec

from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.kernel import Envelope, Fact
from domain.permissions import BUILT_IN, Permission

ROLES: Final = UUID("0c7e2f5a-6d0b-5c1e-9a44-5b0f6a1d7e31")
"""The one aggregate of all roles: who holds which is decided against all of them at once."""
MOST_ROLES: Final = 100
MOST_CONDITIONS: Final = 20
NAME_LIMIT: Final = 50
ICON_LIMIT: Final = 64
HIGHEST_PRIORITY: Final = 1000
COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")

Assignment = Literal["manual", "auto"]
Comparator = Literal["gte", "gt", "lte", "lt", "eq"]
Field = Literal[
    "approvedUploads",
    "totalUploads",
    "ratio",
    "uploadedBytes",
    "downloadedBytes",
    "accountAgeDays",
    "completedSeeds",
    "hnrCount",
]
WITHOUT_SOURCE: Final[frozenset[str]] = frozenset({"hnrCount"})
"""Fields of the reference that nothing counts yet."""


class RoleCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One comparison of a rule, such as `ratio gte 1500`: a ratio of 1.5 in thousandths.

    All values are in thousandths, sizes in thousandths of a byte: facts hold no fractions.
    """

    field: Field
    comparator: Comparator
    thousandths: int


class RoleRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a member gets a role by itself: all conditions hold, or any does."""

    combinator: Literal["and", "or"]
    conditions: tuple[RoleCondition, ...]


class RoleShape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be said of a role. A higher `priority` stands first."""

    name: str
    color: str
    icon: str | None
    priority: int
    show_as_badge: bool
    permissions: tuple[str, ...]
    assignment: Assignment
    rules: RoleRules | None


class RoleCreated(Fact, frozen=True):
    """An administrator made a role."""

    TOPIC: ClassVar[str] = "role.created.1"

    role: UUID
    shape: RoleShape


class RoleEdited(Fact, frozen=True):
    """An administrator changed a role; `shape` is all of it as it is now."""

    TOPIC: ClassVar[str] = "role.edited.1"

    role: UUID
    shape: RoleShape


class RoleRemoved(Fact, frozen=True):
    """An administrator removed a role; nobody holds it any more."""

    TOPIC: ClassVar[str] = "role.removed.1"

    role: UUID


FACTS: tuple[type[Fact], ...] = (RoleCreated, RoleEdited, RoleRemoved)


class RoleNotFound(NotFound):
    """There is no such role, or it was removed."""

    code = "role_not_found"
    message = "Role not found"


class RoleInvalid(Invalid):
    """A field of a role is outside its range."""

    code = "role_invalid"


class RoleNameTaken(Conflict):
    """Another role has that name, perhaps in other case."""

    code = "role_name_taken"
    message = "A role with this name already exists"


class TooManyRoles(Conflict):
    """A site has only so many roles."""

    code = "too_many_roles"
    message = f"A site has at most {MOST_ROLES} roles"


class BuiltInRole(Forbidden):
    """The role belongs to the program."""

    code = "built_in_role"
    message = "This role can't be edited or removed"


class BeyondOwnRights(Forbidden):
    """Nobody gives, takes or changes rights he does not have himself."""

    code = "beyond_own_rights"
    message = "You can't give or take rights you don't have"


class RoleBook(msgspec.Struct, frozen=True, kw_only=True):
    """All roles but the built-in ones, by the text of their ids."""

    version: int = 0
    roles: Mapping[str, RoleShape] = {}


def evolve(state: RoleBook | None, envelope: Envelope) -> RoleBook:
    """The roles after one more fact."""
    roles = dict(state.roles) if state else {}
    match envelope.fact:
        case RoleCreated(role=role, shape=shape) | RoleEdited(role=role, shape=shape):
            roles[str(role)] = shape
        case RoleRemoved(role=role):
            roles.pop(str(role), None)
        case unknown:
            raise TypeError(f"not a fact of roles here: {type(unknown).__name__}")
    return RoleBook(version=envelope.originator_version, roles=roles)


def permissions_of(held: Iterable[str], book: RoleBook) -> frozenset[str]:
    """Union of what the roles among `held` permit, in the API's spelling."""
    found: set[str] = set()
    for role in held:
        if role in BUILT_IN:
            found.update(permission.value for permission in BUILT_IN[role])
        elif role in book.roles:
            found.update(book.roles[role].permissions)
    return frozenset(found)


def create_role(
    book: RoleBook, role: UUID, shape: RoleShape, *, rights: AbstractSet[str]
) -> list[Fact]:
    """Make a role; `rights` are those of the one who asks.

    Raises `RoleInvalid`, `RoleNameTaken`, `TooManyRoles`, `BeyondOwnRights`.
    """
    if len(book.roles) >= MOST_ROLES:
        raise TooManyRoles()
    _require_shape(book, None, shape)
    _require_rights(shape.permissions, rights)
    return [RoleCreated(role=role, shape=shape)]


def edit_role(
    book: RoleBook, role: str, shape: RoleShape, *, rights: AbstractSet[str]
) -> list[Fact]:
    """Change a role; nothing when it is so already.

    Raises `RoleNotFound`, `BuiltInRole` and the refusals of `create_role`.
    """
    current = find_role(book, role)
    _require_shape(book, role, shape)
    _require_rights({*current.permissions, *shape.permissions}, rights)
    return [] if shape == current else [RoleEdited(role=UUID(role), shape=shape)]


def remove_role(book: RoleBook, role: str, *, rights: AbstractSet[str]) -> list[Fact]:
    """Remove a role from all who hold it. Raises `RoleNotFound`, `BuiltInRole`, `BeyondOwnRights`."""
    current = find_role(book, role)
    _require_rights(current.permissions, rights)
    return [RoleRemoved(role=UUID(role))]


def find_role(book: RoleBook, role: str) -> RoleShape:
    """A role that can be edited. Raises `RoleNotFound`, `BuiltInRole`."""
    if role in BUILT_IN:
        raise BuiltInRole()
    if role not in book.roles:
        raise RoleNotFound()
    return book.roles[role]


def require_role(book: RoleBook, role: str) -> None:
    """Raise `RoleNotFound` for a role this site does not have."""
    if role not in BUILT_IN and role not in book.roles:
        raise RoleNotFound()


def require_rights_over(
    role: str, held: Iterable[str], book: RoleBook, rights: AbstractSet[str]
) -> None:
    """Let only those give or take a role who have all that it, and its holder, may do.

    Raises `BeyondOwnRights`.
    """
    _require_rights(permissions_of({role, *held}, book), rights)


def _require_rights(wanted: Iterable[str], rights: AbstractSet[str]) -> None:
    if not set(wanted) <= rights:
        raise BeyondOwnRights()


def _require_shape(book: RoleBook, role: str | None, shape: RoleShape) -> None:
    if not (len(shape.name.strip()) >= 1 and len(shape.name) <= NAME_LIMIT):
        raise RoleInvalid(f"name: must have 1 to {NAME_LIMIT} characters")
    if not COLOR.fullmatch(shape.color):
        raise RoleInvalid("color: must be # and six hex digits")
    if shape.icon is not None and len(shape.icon) > ICON_LIMIT:
        raise RoleInvalid(f"icon: must have at most {ICON_LIMIT} characters")
    if not 0 <= shape.priority <= HIGHEST_PRIORITY:
        raise RoleInvalid(f"priority: must be 0 to {HIGHEST_PRIORITY}")
    unknown = set(shape.permissions) - {permission.value for permission in Permission}
    if unknown:
        raise RoleInvalid(f"permissions: {min(unknown)} is not a permission")
    _require_rules(shape)
    names = {other.name.casefold() for key, other in book.roles.items() if key != role}
    if shape.name.casefold() in names | set(BUILT_IN):
        raise RoleNameTaken()


def _require_rules(shape: RoleShape) -> None:
    conditions = shape.rules.conditions if shape.rules else ()
    if shape.assignment == "auto":
        if not conditions:
            raise RoleInvalid("rules: a role given by itself needs at least one condition")
        if shape.permissions:
            raise RoleInvalid("permissions: a role given by itself carries none")
    if len(conditions) > MOST_CONDITIONS:
        raise RoleInvalid(f"rules: at most {MOST_CONDITIONS} conditions")
    for condition in conditions:
        if condition.field in WITHOUT_SOURCE:
            raise RoleInvalid(f"rules: {condition.field} is not counted by this version")
        if abs(condition.thousandths) >= 2**62:
            raise RoleInvalid("rules: a value lies out of range")
