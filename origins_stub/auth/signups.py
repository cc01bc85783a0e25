"""How far each sign-up has come. Calls block: callers make them in a thread."""

from enum import StrEnum

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from origins_stub.auth.tables import SignupRow


class Signup(StrEnum):
    """Where a sign-up stands."""

    NOT_OPEN = "not_open"
    WITHOUT_PLAN = "without_plan"
    WITH_PLAN = "with_plan"


class SignupStore:
    """Keeps sign-ups beside the users: `UserStore.add` begins one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, customer_id: int) -> Signup:
        """Return where the user's sign-up stands."""
        with Session(self._engine) as session:
            row = session.get(SignupRow, customer_id)
        if row is None:
            return Signup.NOT_OPEN
        return Signup.WITH_PLAN if row.plan else Signup.WITHOUT_PLAN

    def choose_plan(self, customer_id: int, plan: str) -> bool:
        """Note the plan; False when no sign-up of this user is open."""
        with Session(self._engine) as session, session.begin():
            row = session.get(SignupRow, customer_id)
            if row is not None:
                row.plan = plan
            return row is not None

    def complete(self, customer_id: int) -> None:
        """Forget the sign-up: it is over."""
        with Session(self._engine) as session, session.begin():
            row = session.get(SignupRow, customer_id)
            if row is not None:
                session.delete(row)
