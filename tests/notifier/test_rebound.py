"""The mail about a rebinding: to the addresses of the inventory, at once, and about no ticket."""

from typing import Any

from local.issuer import DevelopmentIssuer
from shared.contracts.identity import IdentityRebound
from shared.contracts.notification import NotificationFailed, NotificationSent
from tests.notifier.facts import ticket_fact
from tests.notifier.post import Post
from tests.support.facts import example
from tests.support.harness import said
from tests.support.http import api


def rebound(**fields: Any) -> IdentityRebound:
    return example(IdentityRebound).model_copy(update={"bound_user_id": None} | fields)


async def test_rebinding_is_mailed_once_and_at_once_to_the_address_of_the_inventory(post: Post) -> None:
    await post.take(rebound(why="called back"))
    await post.send_all()
    (mail,) = post.to("ann")
    text = " ".join((mail.text or "").split())
    assert text.startswith("Sign-in replaced")
    for said_there in (
        "Ann (ann)", "https://issuer.test", "sub-ann", "sub-ann-before", "root", "called back",
        "not before Tue 3 Mar 2026, 09:00 UTC", "GET https://jit.example.com/v1/me",
    ):  # fmt: skip
        assert said_there in text, said_there
    assert len(post.box.mails()) == 1


async def test_whose_sign_in_it_was_is_told_too_where_they_are_still_there(post: Post) -> None:
    await post.take(rebound(bound_user_id="user-bob"))
    await post.take(rebound(bound_user_id="user-gone-for-good"))
    await post.send_all()
    assert [len(post.to(name)) for name in ("ann", "bob")] == [2, 1]
    (failed,) = await said(post.service, NotificationFailed)
    assert isinstance(failed, NotificationFailed)
    assert [mail.recipient for mail in failed.mails] == ["user-gone-for-good"]


async def test_mail_about_no_ticket_waits_for_none_and_is_alone_in_its_thread(
    post: Post, issuer: DevelopmentIssuer
) -> None:
    await post.take(ticket_fact())
    post.box.refuse(450, times=1, recipient="ann@example.com")
    await post.send_all()
    for _ in range(2):
        await post.take(rebound())
    await post.send_all()
    mails = post.to("ann")
    assert len(mails) == 2
    assert len({mail.thread for mail in mails}) == 2
    sent = [one for one in await said(post.service, NotificationSent) if isinstance(one, NotificationSent)]
    assert {(one.ticket_id, one.subject) for one in sent if one.template == "rebound"} == {(None, "user-ann")}
    async with api(post.service, issuer, "root") as client:
        page = (await client.get("/v1/deliveries")).json()["items"]
    assert [one["ticket_id"] for one in page[:2]] == [None, None]
