"""What a Passport says, as JSON for /echo: facts only, no MACs, no keys, and not the Passport itself."""

from passport.introspector import PassportIntrospector
from passport.refusals import PassportRefusal


def passport_facts(values: int, read: PassportIntrospector | PassportRefusal) -> dict[str, object]:
    """Return the facts of what was read from `values` X-Passport headers, or why nothing of it may be believed."""
    if isinstance(read, PassportRefusal):
        return {"received": values, "verified": False, "refusal": read.value}
    return {
        "received": values,
        "verified": True,
        "refusal": None,
        "request_id": read.request_id,
        "issuer": read.issuer,
        "trust_domain": read.trust_domain,
        "created": read.created,
        "expires": read.expires,
        "user": {
            "source": read.user_source.name,
            "level": read.user_level.name,
            "customer_id": read.customer_id,
            "account_owner_id": read.account_owner_id,
            "profile_id": read.profile_id,
            "session_id": read.session_id,
            "actions": [action.name for action in read.actions],
        },
        "device": {
            "source": read.device_source.name,
            "level": read.device_level.name,
            "esn": read.esn,
            "device_type": read.device_type,
        },
    }
