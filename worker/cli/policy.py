"""``dlr worklist policy``: the reading order, shown, checked, compared with another, and changed."""

import sys
from typing import Annotated

import typer

from worker.cli.confirmation import make_sure, who_asks
from worker.cli.output import Card, Format, FormatOption, print_json, print_rows, stderr
from worker.cli.policy_given import policy_given
from worker.cli.progress import counting_bar
from worker.clinical.reading_order.check import findings
from worker.clinical.reading_order.policy import BUILT_IN, Policy, Rule, built_in_document, parse_policy
from worker.errors import Code, SetupRefused

app = typer.Typer(no_args_is_help=True)

PolicyArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help=f"A policy's TOML file, or one of: {', '.join(BUILT_IN)}"),
]
TIER_COLUMNS = ("tier", "name", "title", "sorted_by", "step_priority", "rule", "what", "reason", "mark")
TIER_CARD = Card(("tier", "name", "rule", "reason"), ("what", "sorted_by", "mark"))
FINDING_COLUMNS = ("code", "where", "what")
TIERS_COLUMNS = ("from", "to", "studies")
MOVE_COLUMNS = ("study_id", "place_now", "place_then", "tier_now", "tier_then")


@app.command()
def show(
    policy: Annotated[str | None, typer.Argument(metavar="FILE", help="Default: the policy that is active")] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print the file itself, to change a copy of it")] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show a policy: its tiers in reading order, and what is in each."""
    shown, document = _active() if policy is None else policy_given(policy)
    if toml:
        sys.stdout.write(document)
        return
    rows = [
        {
            "tier": number,
            "name": tier.name,
            "title": tier.title,
            "sorted_by": ", ".join((*tier.order, "arrival")),
            "step_priority": tier.step_priority.value,
            "rule": place,
            "what": _conditions(rule),
            "reason": rule.reason,
            "mark": rule.mark,
        }
        for place, (number, tier, rule) in enumerate(shown.numbered, start=1)
    ]
    before_all = ", ".join(priority.value for priority in shown.before_all) or "none"
    title = f"{shown.label}: {shown.title}; before all tiers: {before_all}"
    print_rows(rows, TIER_COLUMNS, fmt, title, TIER_CARD)


@app.command()
def check(policy: PolicyArgument, fmt: FormatOption = Format.TABLE) -> None:
    """Check a policy's file, and say where it is not monotone: where more suspicion would be read later.

    Exit status 1: the file is no policy. 3: it is one, and a person should look at what was found.
    """
    checked, _ = policy_given(policy)
    rows = [{"code": found.code.value, "where": found.where, "what": found.sentence} for found in findings(checked)]
    print_rows(rows, FINDING_COLUMNS, fmt, f"{checked.label}: findings")
    raise typer.Exit(3 if rows else 0)


@app.command()
def diff(
    policy: PolicyArgument,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of studies to list")] = 20,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Say who would move under a policy, of the studies that are to be read. Changes nothing."""
    from worker.runtime import sessions
    from worker.scoring.reading_policy import moves

    compared, _ = policy_given(policy)
    with counting_bar("studies", None) as advance:
        found = moves(sessions(), compared, advance)
    tiers = [{"from": now, "to": then, "studies": number} for (now, then), number in sorted(found.tiers.items())]
    listed = [
        {
            "study_id": move.study_id,
            "place_now": move.before,
            "place_then": move.after,
            "tier_now": move.tier_before,
            "tier_then": move.tier_after,
        }
        for move in found.moves[:limit]
    ]
    if fmt is Format.JSON:
        print_json({"policy": compared.label, "tiers": tiers, "moved": len(found.moves), "moves": listed})
        return
    if fmt is Format.TABLE:
        print_rows(tiers, TIERS_COLUMNS, fmt, f"tiers now and under {compared.label}")
    print_rows(listed, MOVE_COLUMNS, fmt, f"{len(found.moves)} studies would move; those that move most")


@app.command()
def apply(
    policy: PolicyArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    force: Annotated[bool, typer.Option("--force", help="Apply a policy of which `check` finds something")] = False,
) -> None:
    """Make a policy the one that orders the worklist; the list stays readable and writable meanwhile.

    Places are computed beside those that are served, then switched at once. Broken off, nothing has changed: run it
    again.
    """
    from worker.runtime import sessions
    from worker.scoring.reading_policy import apply_policy

    applied, document = policy_given(policy)
    _refuse_other_content(applied, document)
    found = findings(applied)
    if found and applied.label not in BUILT_IN and not force:
        reason = f"{applied.label}: {found[0].where}: {found[0].sentence}"
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise SetupRefused(Code.READING_ORDER_INVALID, f"{reason}{more}; see `dlr worklist policy check`, or --force")
    if not yes:
        make_sure(f"order the worklist by {applied.label}?", "confirm with --yes, or see who would move with `diff`")
    with counting_bar("studies", None) as advance:
        before = apply_policy(sessions(), applied, document, who_asks(), advance)
    stderr.print(f"the worklist is ordered by {applied.label}; before, it was by {before}")


def _conditions(rule: Rule) -> str:
    """Say what a rule asks for, in the words of its file."""
    words = {
        "category": None if rule.category is None else [category or "unknown" for category in rule.category],
        "outcome": rule.outcome,
        "lesion": rule.state,
        "study": rule.study,
    }
    said = [f"{name} {' or '.join(allowed)}" for name, allowed in words.items() if allowed is not None]
    for name, is_high in (("DLR_LH", rule.high_risk), ("DLR_BM", rule.malignant)):
        said += [] if is_high is None else [f"{name} {'high' if is_high else 'low'}"]
    for name, bounds in (("DLR_LH", rule.high_risk_probability), ("DLR_BM", rule.malignant_probability)):
        said += [] if bounds is None else [f"{name} from {bounds[0]:g} to {bounds[1]:g}"]
    return ", ".join(said) or "anything"


def _active() -> tuple[Policy, str]:
    from db.reads.study_queries import active_policy
    from worker.runtime import sessions

    with sessions()() as session:
        document = active_policy(session)
    return parse_policy(document), document


def _refuse_other_content(policy: Policy, document: str) -> None:
    from db.reads.study_queries import policy_documents
    from worker.runtime import sessions

    with sessions()() as session:
        known = policy_documents(session, policy.label)
    known |= {built_in_document(policy.label)} if policy.label in BUILT_IN else set()
    if any(one != document for one in known):
        reason = f"{policy.label} is known with other content; give the changed policy another version"
        raise SetupRefused(Code.READING_ORDER_INVALID, reason)
