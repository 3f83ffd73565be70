"""The approver's mail: everything needed to decide, without opening anything. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from services.notifier.domain.content import (
    AUTHORIZATION,
    Addresses,
    Content,
    ContentRow,
    Documents,
    Section,
    and_more,
    at_most,
    cut,
    passage,
    row,
    section,
    span,
    utc,
    who,
)
from services.notifier.domain.listing import ListedItem, item, list_items
from services.notifier.domain.wording import (
    access_name,
    asked_end,
    asked_text,
    credentials_row,
    described,
    subject_of,
)
from shared.configuration.kinds.sensitive_mark import SensitiveMark
from shared.contracts.approval import EarlierRejection, OtherGrant, ReviewStageOpened
from shared.contracts.documents import Account, OrganizationalUnit, PermissionSet, RegisteredAccount
from shared.contracts.subject import ApprovalSubject, SubjectKind
from shared.contracts.ticket import Ticket

DETAILS = 30
"""Most labels, tags or summary lines of one thing; the API has them all."""
SETS = 10
"""Most permission sets that are described in one mail."""

_REJECT = '{"verdict": "approve"} or {"verdict": "reject", "comment": "<why not>"}'


@dataclass(frozen=True)
class _Review:
    """A stage that waits for the reader, with what it is about; None when no fact of its ticket says it."""

    stage: ReviewStageOpened
    subject: ApprovalSubject | None

    @classmethod
    def of(cls, stage: ReviewStageOpened, ticket: Ticket | None) -> Self:
        found = _find_subject(stage, ticket) if ticket else None
        return cls(stage, found if found and found.id == stage.subject_id else None)

    @property
    def id(self) -> str:
        return self.stage.review_id


def _find_subject(stage: ReviewStageOpened, ticket: Ticket) -> ApprovalSubject | None:
    if stage.subject_kind is SubjectKind.EXTENSION:
        extension = ticket.extension(stage.subject_id)
        return ticket.extension_subject(extension) if extension else None
    target = ticket.target(stage.target_id)
    return ticket.subject_of(target) if target else None


def approval_needed(
    stages: Sequence[ReviewStageOpened], ticket: Ticket | None, documents: Documents, addresses: Addresses
) -> Content:
    """About one review, with all there is to know; about several of a ticket, with what differs beside each.

    `ticket` is None when no fact of it ever came: then the mail says where to look.
    """
    newest = {stage.review_id: stage for stage in stages}.values()
    reviews = [_Review.of(one, ticket) for one in newest]
    page = addresses.page("reviews", reviews[0].id) if len(reviews) == 1 else ""
    page = page or addresses.page("tickets", reviews[0].stage.ticket_id)
    fallback = f"request {reviews[0].stage.ticket_id}"
    return Content(
        subject=f"[JIT] Approval needed: {subject_of(ticket, fallback=fallback)}",
        headline=_headline(stages),
        lead=f"{_lead(reviews)} {_stage_sentence(reviews)}",
        sections=_sections(reviews, documents),
        link=page,
        link_label="Look at the request and decide" if page else "",
        tone="action",
        how_to=f"{_LINK_IS_SAFE if page else ''}Decide over the API, with your own token:",
        commands=_commands(reviews, addresses),
    )


def _headline(stages: Sequence[ReviewStageOpened]) -> str:
    if all(stage.subject_kind is SubjectKind.EXTENSION for stage in stages):
        return "Your approval of an extension is needed"
    return "Your approval is needed"


_LINK_IS_SAFE = "The link only opens a page; nothing is decided before you say so there. Or: "


def _commands(reviews: Sequence[_Review], addresses: Addresses) -> tuple[str, ...]:
    review = addresses.route("reviews", reviews[0].id if len(reviews) == 1 else "")
    review += "" if len(reviews) == 1 else "<review>"
    return (
        f"GET {review}",
        f"POST {review}/decisions",
        AUTHORIZATION,
        "Content-Type: application/json",
        'If-Match: "<ETag of the review as you read it>"',
        _REJECT,
    )


def _lead(reviews: Sequence[_Review]) -> str:
    subjects = [review.subject for review in reviews if review.subject]
    if not subjects:
        return "A request for access waits for your decision; the review says what it asks."
    asking = dict.fromkeys(who(subject.requester) for subject in subjects)
    extended = [subject for subject in subjects if subject.kind is SubjectKind.EXTENSION]
    wish = "ask for" if len(asking) > 1 else "asks for"
    wish += " a later end of" if len(extended) == len(subjects) else ""
    what = access_name(subjects[0]) if len(subjects) == 1 else f"access to {len(reviews)} targets"
    moved = f" {_end_sentence(subjects[0])}" if extended and len(subjects) == 1 else ""
    return f"{and_more(asking)} {wish} {what} for {_whom(subjects)}.{moved}"


def _end_sentence(extension: ApprovalSubject) -> str:
    """An extension times out at the end as it is."""
    later = asked_end(extension.asked)
    until = f"until {utc(later)}" if later else "longer"
    return f"It would last {until} instead of {utc(extension.expires_at)}: {span(extension.length)} in all."


def _stage_sentence(reviews: Sequence[_Review]) -> str:
    if len(reviews) > 1:
        return "Each of them has a review of its own, listed below."
    stage = reviews[0].stage
    needed = "1 approval" if stage.needed == 1 else f"{stage.needed} approvals"
    return f"This is stage {stage.stage} of {stage.stages}; it needs {needed}."


def _whom(subjects: Sequence[ApprovalSubject]) -> str:
    asked_for = {person.user_id: who(person) for subject in subjects for person in subject.beneficiaries}
    if set(asked_for) == {subject.requester.user_id for subject in subjects}:
        return "themselves"
    more = f" and {len(asked_for) - 3} more" if len(asked_for) > 3 else ""
    return ", ".join(list(asked_for.values())[:3]) + more


def _sections(reviews: Sequence[_Review], documents: Documents) -> tuple[Section, ...]:
    consider = section("To consider", _consider([review.stage for review in reviews]))
    only = reviews[0].subject if len(reviews) == 1 else None
    if not any(review.subject for review in reviews):
        return (section("Reviews", list_items("Review", [_unknown(one) for one in reviews])), consider)
    if only is not None:
        request = [*_request(only), row("Ticket", only.ticket_id), row("Review", reviews[0].id)]
        return (
            section("Request", request),
            section("Account", _account(only, documents)),
            section("Permission set", _set(only, documents)),
            section("Time", _time(only)),
            consider,
        )
    shared = _shared([_request(one.subject) for one in reviews if one.subject])
    return (
        section("Request", [*shared, row("Ticket", reviews[0].stage.ticket_id)]),
        section("To decide", list_items("Access", [_listed(one, shared, documents) for one in reviews])),
        section("Permission sets", _sets(reviews, documents)),
        consider,
    )


def _unknown(review: _Review) -> ListedItem:
    """A review of which no more is known than its own fact says."""
    account = row("Account", review.stage.account_id) if review.stage.account_id else None
    return item(review.id, [account])


def _listed(review: _Review, shared: Sequence[ContentRow], documents: Documents) -> ListedItem:
    """One of several: which review, and what is particular to it."""
    stage, subject = review.stage, review.subject
    its_stage = row("Stage", f"{stage.stage} of {stage.stages}, needs {stage.needed}")
    if subject is None:
        return item(f"target {stage.target_id}", [row("Review", review.id), its_stage])
    own = [one for one in _request(subject) if one not in shared]
    account = [one for one in _account(subject, documents) if one and one.label != "Name"]
    attention = [one for one in _set(subject, documents) if one and one.label in _NOTED]
    rows = [row("Review", review.id), its_stage, *own, *account, *attention, *_time(subject)]
    return item(access_name(subject), rows)


def _shared(requests: Sequence[Sequence[ContentRow]]) -> list[ContentRow]:
    """What all of several requests say."""
    return [one for one in requests[0] if all(one in other for other in requests)]


def _sets(reviews: Sequence[_Review], documents: Documents) -> list[ContentRow | None]:
    """Each permission set once, with what it allows."""
    subjects = {one.subject.set_id: one.subject for one in reviews if one.subject}
    rows: list[ContentRow | None] = []
    for subject in list(subjects.values())[:SETS]:
        found = documents.get(PermissionSet, subject.set_id)
        allows = (found.description, *at_most(found.summary, DETAILS)) if found else ()
        rows.append(row(cut(subject.set_name, 80), *(one for one in allows if one)))
    more = len(subjects) - SETS
    rows.append(row("Others", f"{more} more, see the reviews") if more > 0 else None)
    return rows


def _request(subject: ApprovalSubject) -> list[ContentRow]:
    return [
        row("Asked by", who(subject.requester)),
        row("For", *(who(person) for person in subject.beneficiaries)),
        passage("Reason", subject.reason),
        *described(subject),
        row("Asked on", utc(subject.submitted_at)),
    ]


def _account(subject: ApprovalSubject, documents: Documents) -> list[ContentRow | None]:
    account = documents.get(Account, subject.account_id)
    registered = documents.get(RegisteredAccount, subject.account_id)
    return [
        row("Name", f"{cut(subject.account_name, 120)} ({subject.account_id})"),
        _sensitive("Sensitive account", subject.account_id, documents),
        row("Unit", " / ".join(_unit_names(account, documents))) if account else None,
        row("Labels", *_pairs(registered.labels)) if registered else None,
        row("Tags", *_pairs(account.tags)) if account else None,
    ]


def _set(subject: ApprovalSubject, documents: Documents) -> list[ContentRow | None]:
    found = documents.get(PermissionSet, subject.set_id)
    return [
        row("Name", subject.set_name),
        _sensitive(_SENSITIVE_SET, subject.set_id, documents),
        row("Description", found.description) if found else None,
        row("It allows", *at_most(found.summary, DETAILS)) if found else None,
        row("Session", f"{span(subject.session_duration)} at most"),
        row("Attention", _CHANGED) if found and found.digest != subject.set_digest else None,
    ]


_SENSITIVE_SET = "Sensitive set"
_NOTED = frozenset({_SENSITIVE_SET, "Attention"})
"""What is said of a set beside each of several reviews; the rest is said once."""


def _sensitive(label: str, marked: str, documents: Documents) -> ContentRow | None:
    """Why an administrator marked it, if one did."""
    mark = documents.get(SensitiveMark, marked)
    return row(label, mark.why) if mark else None


_CHANGED = (
    "The permission set was changed after it was asked for. What it allows is shown as it is now; "
    "an approval holds for what was asked, and will not be granted."
)


def _time(subject: ApprovalSubject) -> list[ContentRow]:
    ends_at = asked_end(subject.asked)
    if subject.kind is SubjectKind.EXTENSION and ends_at is not None:
        window = [row("Ends", utc(subject.expires_at)), row("Later end", utc(ends_at))]
        window.append(row("In all", f"{span(subject.length)}, from the first start on"))
    else:
        window = [row("Window", asked_text(subject.asked))]
    return [
        *window,
        credentials_row(subject.session_duration, ends_at),
        row("Decide until", utc(subject.expires_at)),
    ]


def _consider(stages: Sequence[ReviewStageOpened]) -> list[ContentRow | None]:
    """How many, and below some of them."""
    live = list(dict.fromkeys(one for stage in stages for one in stage.other_grants_listed))
    named = len({grant.beneficiary.user_id for grant in live}) > 1
    rejected = list(dict.fromkeys(one for stage in stages for one in stage.earlier_rejections_listed))
    others = max(stage.other_grants for stage in stages)
    earlier = sum(stage.earlier_rejections for stage in stages)
    grants = at_most([_grant(grant, named=named) for grant in live], DETAILS)
    rejections = at_most([_rejection(one) for one in rejected], DETAILS)
    return [
        row("Other live grants", f"{others} of the beneficiaries at this moment", *grants),
        row("Earlier rejections", f"{earlier} of this request", *rejections),
    ]


def _grant(grant: OtherGrant, *, named: bool) -> str:
    whose = f"{who(grant.beneficiary)}: " if named else ""
    account = f"{cut(grant.account_name, 120)} ({grant.account_id})"
    return f"{whose}{grant.set_name} on {account} until {utc(grant.ends_at)}"


def _rejection(one: EarlierRejection) -> str:
    comment = " ".join(one.comment.split())
    return f"{utc(one.at)}: {comment}" if comment else utc(one.at)


def _unit_names(account: Account, documents: Documents) -> list[str]:
    units = [(unit_id, documents.get(OrganizationalUnit, unit_id)) for unit_id in account.ous]
    return [cut(unit.name, 80) if unit else unit_id for unit_id, unit in units]


def _pairs(pairs: Mapping[str, str]) -> tuple[str, ...]:
    return at_most([f"{key}={value}" for key, value in sorted(pairs.items())], DETAILS)
