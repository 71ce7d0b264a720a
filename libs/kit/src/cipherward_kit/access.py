"""Who may call a method: the `Callers:` line of its comment, enforced.

| port | caller | served |
|---|---|---|
| services (mTLS) | a service, certified by its member's authority | as `Callers:` says |
| holders (TLS without client certificates) | anybody, and nobody is known | `anyone` only |
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import grpc

from cipherward.rpc_rules import RULES, RpcRule
from cipherward_kit.errors import ServiceError
from cipherward_kit.tls import Caller, PeerNotTrusted, TrustRegistry

Rules = Mapping[str, RpcRule]
ALL_RULES: Rules = RULES

ANYONE = "anyone"
# One service of the member (or members) that this server belongs to.
OWN = {"own ledger": "ledger"}
OWN_ANY_SERVICE = "own member's services"
ANY_SERVICE = "any member's services"
# One kind of service, of whatever member.
ANY_MEMBERS = {"any member's compute": "compute", "any member's storage": "storage"}

_caller: ContextVar[Caller | None] = ContextVar("cipherward_caller", default=None)


class PeerRefused(ServiceError):
    """The peer's certificate does not prove the name that it claims."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "PEER_NOT_TRUSTED"


class CallerRefused(ServiceError):
    """The comment of this method names other callers."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "CALLER_REFUSED"


def current_caller() -> Caller | None:
    """Return the verified service that makes the RPC being handled, or None for a holder."""
    return _caller.get()


def calling_member() -> str:
    """Return the member whose service makes the RPC being handled.

    For RPCs that no holder may call: the boundary has refused everybody else.
    """
    caller = current_caller()
    assert caller is not None
    return caller.member


class AuthContext(Protocol):
    """The part of grpc's servicer context that tells who is at the other end."""

    def auth_context(self) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class Access:
    """What one port enforces.

    rules: by method path, as generated from the protos.
    own: ids of the members that "own" means: this server's, and in a solo alliance all of them.
    registry: the members' authorities; None on the holder port.
    """

    rules: Rules
    own: frozenset[str]
    registry: TrustRegistry | None

    def admit(self, method: str, context: AuthContext) -> None:
        """Let the RPC pass and make its caller known to the handler.

        Raises:
            PeerRefused: the certificate does not prove the peer's name.
            CallerRefused: the method is not for this caller, or has no rule.
        """
        caller = None if self.registry is None else self._verified(self.registry, context)
        rule = self.rules.get(method)
        if rule is None or not self._allows(rule.callers, caller):
            wanted = "nobody: it has no rule" if rule is None else rule.callers
            raise CallerRefused(f"{method} is for {wanted}", method=method, callers=wanted)
        _caller.set(caller)

    def _verified(self, registry: TrustRegistry, context: AuthContext) -> Caller:
        shown = context.auth_context()
        leaf, name = _only(shown.get("x509_pem_cert")), _only(shown.get("peer_spiffe_id"))
        try:
            return registry.verify_peer(leaf, name.decode("utf-8", "replace"))
        except PeerNotTrusted as error:
            raise PeerRefused(str(error)) from None

    def _allows(self, callers: str, caller: Caller | None) -> bool:
        if callers == ANYONE:
            return True
        if caller is None:
            return False
        if callers == ANY_SERVICE:
            return True
        if callers in ANY_MEMBERS:
            return caller.service == ANY_MEMBERS[callers]
        if caller.member not in self.own:
            return False
        return callers == OWN_ANY_SERVICE or caller.service == OWN.get(callers)


def _only(values: object) -> bytes:
    """Return the single property, or b"" (which proves nothing) if there is none or are several."""
    if isinstance(values, (list, tuple)) and len(values) == 1 and isinstance(values[0], bytes):  # pyright: ignore[reportUnknownArgumentType] - grpc types it loosely
        return values[0]
    return b""
