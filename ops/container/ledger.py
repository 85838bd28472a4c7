"""What signs the accounting state behind closed days."""

from __future__ import annotations

from application.store.keyring import Keyring
from application.store.log import EventLog
from ops.container.credit import credit_policies
from ops.system import SystemEntropy
from projections.ledger_checkpoints import Checkpoints


def ledger_checkpoints(log: EventLog, keyring: Keyring, entropy: SystemEntropy) -> Checkpoints:
    seed = int.from_bytes(entropy.token(8))
    return Checkpoints(log.event_sealer, keyring, credit_policies(log), seed=seed)
