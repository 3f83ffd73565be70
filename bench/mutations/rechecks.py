"""Mutants of the re-check before a grant."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "the deed is not compared with the approval",
            "if len({witness, asked, content}) != 1:",
            "if len({witness, asked}) != 1:",
        ),
        (
            "the ticket is not compared with the approval",
            "if len({witness, asked, content}) != 1:",
            "if len({witness, content}) != 1:",
        ),
        ("parties of the ticket may vote", "parties={*parties, *claim.parties}", "parties={*parties}"),
        (
            "an easier rule's length is judged by",
            "duration=max(claim.duration_asked, claim.ends_at - claim.starts_at)",
            "duration=claim.duration_asked",
        ),
        (
            "older documents are decided on",
            "if not snapshot.is_as_new_as(",
            "if not snapshot and not snapshot.is_as_new_as(",
        ),
        (
            "AWS's word about an account is not heard",
            "{known.account.state, live.account_state if live else None}",
            "{known.account.state}",
        ),
        (
            "the table's word about an account is not heard",
            "{known.account.state, live.account_state if live else None}",
            "{live.account_state if live else None}",
        ),
        (
            "a delegated administrator's account is not protected",
            "special = known.account.management or known.account.delegated_administrator",
            "special = known.account.management",
        ),
        (
            "a changed set is granted",
            "{known.permission_set.digest, live.set_digest if live else claim.set_digest}",
            "{claim.set_digest}",
        ),
        (
            "AWS's word about a disabled user is not heard",
            "if not known.user.enabled or (live is not None and not live.user_enabled):",
            "if not known.user.enabled:",
        ),
        (
            "the table's word about a disabled user is not heard",
            "if not known.user.enabled or (live is not None and not live.user_enabled):",
            "if live is not None and not live.user_enabled:",
        ),
        (
            "another instance's claim is granted",
            "if claim.instance != known.instance:",
            "if not claim.instance:",
        ),
        ("tables that are not ready refuse for good", "if not known.ready:", "if known.ready is None:"),
        (
            "long sessions need nobody's acceptance",
            "known.permission_set.has_long_sessions and not known.registered_set.long_session_acknowledged",
            "known.permission_set.has_long_sessions and not known.registered_set",
        ),
        (
            "the policy is not asked again",
            "if not known.may_request.allowed:",
            "if known.may_request is None:",
        ),
        (
            "an account that was taken out of the catalog is granted",
            "if known.registered_account is None:",
            "if known.account is None:",
        ),
        (
            "a set that was taken out of the catalog is granted",
            "if known.registered_set is None:",
            "if known.permission_set is None:",
        ),
    ),
)
