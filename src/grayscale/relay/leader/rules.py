"""The plan's own rules, once the judge has found them broken: tell, pause; once per release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grayscale.judge import Verdict
from grayscale.plan.models import Plan
from grayscale.plan.parts import RollbackRule
from grayscale.plane import configs, document, people, versions
from grayscale.plane.actor import GUARD
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store.database import Tx

_KEEP_THE_TRAFFIC = frozenset({"alert", "pause"})


async def act_on_broken_rules(plane: Plane, tx: Tx, release: Document, verdict: Verdict) -> None:
    """Carry out what each newly broken rule asks for; a rollback itself is the guard's."""
    broken = verdict.evidence.get("rules_broken", ())
    for rule in release.plan.rollback_rules:
        if rule.name not in broken or rule.name in release.rules_acted:
            continue
        release.rules_acted = (*release.rules_acted, rule.name)
        reason = says(rule, verdict.evidence)
        channels = _channels(release.plan, rule)
        if rule.action == "pause" and release.state is not State.PAUSED:
            await people.pause(
                plane, tx, release, actor=GUARD, at_stable=False, note=reason, channels=channels
            )
            continue
        await document.save(tx, release, now=plane.clock.now())
        await document.tell(
            plane, tx, release, "release.rule_broken", actor=GUARD, reason=reason,
            extra={"rule": rule.name, "action": rule.action}, channels=channels,
        )  # fmt: skip


async def rollback_target(tx: Tx, release: Document, verdict: Verdict) -> str | None:
    """The version that a broken rule names, if it has ever been stable; None: where all goes."""
    broken = verdict.evidence.get("rules_broken", ())
    config = await configs.current(tx)
    for rule in release.plan.rollback_rules:
        if rule.name not in broken or rule.action in _KEEP_THE_TRAFFIC:
            continue
        named = config.aliases.get(rule.target_version, rule.target_version)
        version = await versions.find(tx, named)
        if version is not None and version.promoted_at is not None and not version.quarantined:
            return None if version.withdrawn else version.name
    return None


def says(rule: RollbackRule, evidence: Mapping[str, Any]) -> str:
    """The rule, and the counts of its gate."""
    text = f"rule {rule.name} ({rule.condition}) is broken"
    gate = evidence.get("gates", {}).get(f"rule {rule.name}")
    if gate is None:
        return text
    arms = gate["total"]
    counts = [f"{arms[arm]['bad']:,} of {arms[arm]['all']:,}" for arm in ("candidate", "stable")]
    return f"{text}: {counts[0]} candidate requests beyond it, {counts[1]} on stable"


def _channels(plan: Plan, rule: RollbackRule) -> tuple[str, ...]:
    """Whom the rule tells; of a rollback the plan's own channels hear anyway."""
    if not rule.notification.enabled:
        return ()
    if rule.action in _KEEP_THE_TRAFFIC:
        return rule.notification.channels
    told = plan.notifications.channels
    return tuple(channel for channel in rule.notification.channels if channel not in told)
