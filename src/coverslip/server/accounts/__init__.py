"""A group's accounts: people, what they may see, how they log in, and for how long."""

from coverslip.server.accounts.door import AccountsDoor
from coverslip.server.accounts.people import Account, People
from coverslip.server.accounts.projects import Projects
from coverslip.server.accounts.sessions import Sessions, Spans

__all__ = ["Account", "AccountsDoor", "People", "Projects", "Sessions", "Spans"]
