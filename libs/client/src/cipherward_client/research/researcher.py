"""The researcher's side in plain Python: from a connection to a frame and a picture.

researcher = Researcher.connect("alliance", "ada.wallet")
study = researcher.run("study.yaml", permit="00112233445566778899aabbccddeeff")
frame = study.frame()
study.plot().savefig("survival.png")
study.save_receipts("receipts")

Every call blocks until it is done, also in a notebook, whose own loop keeps running.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.research.development import approve_as_all, grant_for
from cipherward_client.research.inputs import Spec, draft_of, id_of, passphrase_of
from cipherward_client.research.loops import LoopThread
from cipherward_client.research.released import Study
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import explaining
from cipherward_client.sdk.permits import show_permit
from cipherward_client.sdk.studies import propose_study
from cipherward_client.sdk.study_explaining import Explained, explain_study
from cipherward_client.sdk.study_receipts import study_receipts, write_receipts
from cipherward_client.sdk.study_results import StudyResult, fetch_result
from cipherward_client.sdk.study_rounds import Researching
from cipherward_client.sdk.study_rules import study_rules
from cipherward_client.sdk.study_watch import StudyView
from cipherward_client.wallet.opened import OpenWallet, opened_wallet


class Researcher:
    """A connection with a wallet; make it with `connect`, and close it, or use it in a `with`."""

    def __init__(
        self, folder: AllianceFolder, alliance: Alliance, opened: OpenWallet, waiting: _Waiting
    ) -> None:
        self._folder = folder
        self._alliance = alliance
        self._opened = opened
        self._waiting = waiting

    @classmethod
    def connect(
        cls,
        folder: str | Path,
        wallet: str | Path,
        *,
        passphrase: str | None = None,
        passphrase_file: str | Path | None = None,
    ) -> Researcher:
        """Connect to the alliance of a folder as the holder of a wallet.

        Args:
            folder: with the alliance's genesis and endpoints.
            wallet: its file; no other program can use it until this is closed.
            passphrase, passphrase_file: of the wallet; without either it is asked for.

        Raises:
            ClientError: a file cannot be used, or the wallet is of another alliance.
        """
        known = passphrase_of(passphrase, passphrase_file)
        place = AllianceFolder(Path(folder))
        waiting = _Waiting(LoopThread(), AsyncExitStack())

        async def work() -> Researcher:
            with explaining():
                stack = waiting.stack
                opened = await stack.enter_async_context(opened_wallet(Path(wallet), lambda: known))
                alliance = await stack.enter_async_context(
                    Alliance.open(place.endpoints_file, place.genesis_file)
                )
                opened.wallet.require_chain(alliance.chain_id, alliance.genesis.digest)
                return cls(place, alliance, opened, waiting)

        try:
            return waiting.loop.wait(work())
        except BaseException:
            waiting.close()
            raise

    def explain(self, spec: Spec, *, permit: str = "") -> Explained:
        """Return what a study will do, before anything runs.

        Args:
            permit: id of the data permit that it would run under, 32 hexadecimal digits; or none.

        Raises:
            ClientError: the study is impossible, or the permit unknown.
        """

        async def work() -> Explained:
            with explaining():
                draft = draft_of(spec)
                rules = await study_rules(self._alliance, draft)
                found = None
                if permit:
                    wallet = self._opened.wallet
                    found = await show_permit(self._alliance, wallet, id_of(permit))
                return explain_study(draft, self._alliance.present, rules, found)

        return self._waiting.loop.wait(work())

    def run(
        self,
        spec: Spec,
        *,
        permit: str = "",
        approve_as_all_members: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> Study:
        """Propose a study, wait until the members have approved and computed it, and return it.

        Args:
            permit: id of a granted data permit, 32 hexadecimal digits.
            approve_as_all_members: vote yes as every member, on a permit for this one study too if
                none is named: in a development alliance only.
            tell: gets a line whenever the study goes on, as `print` would; from another thread.

        Raises:
            ClientError: the study is impossible or ends without a result.
        """

        async def work() -> Study:
            with explaining():
                draft = draft_of(spec)
                permit_id = id_of(permit) if permit or not approve_as_all_members else b""
                alliance, wallet = self._alliance, self._opened.wallet
                if not permit_id:
                    permit_id = await grant_for(self._folder, alliance, wallet, draft)
                proposed = await propose_study(alliance, wallet, draft, permit_id)
                await self._opened.save()  # without its key the result could never be read
                if tell is not None:
                    tell(f"study {proposed.study_id.hex()} is proposed")
                if approve_as_all_members:
                    members = draft.members or alliance.present
                    await approve_as_all(self._folder, members, proposed.study_id)
                return await self._finished(proposed.study_id, tell)

        return self._waiting.loop.wait(work())

    def resume(self, study: str, *, tell: Callable[[str], None] | None = None) -> Study:
        """Go on with a study of this wallet that another process has begun, and return it.

        Raises:
            ClientError: the wallet does not know it, or it ends without a result.
        """

        async def work() -> Study:
            with explaining():
                return await self._finished(id_of(study), tell)

        return self._waiting.loop.wait(work())

    def study(self, study: str) -> Study:
        """Return a released study of this wallet.

        Raises:
            ClientError: the wallet does not know it, or it has no result.
        """

        async def work() -> Study:
            with explaining():
                wallet = self._opened.wallet
                found = await fetch_result(self._alliance, wallet, id_of(study))
                return self._released(found)

        return self._waiting.loop.wait(work())

    def close(self) -> None:
        """Save the wallet and close the connection; a second time does nothing."""
        self._waiting.close()

    def __enter__(self) -> Researcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _released(self, result: StudyResult) -> Study:
        async def save(folder: Path) -> list[Path]:
            wallet = self._opened.wallet
            found = await study_receipts(self._alliance, wallet, result.study_id)
            return write_receipts(folder, found)

        return Study(result, lambda folder: self._waiting.loop.wait(save(folder)))

    async def _finished(self, study_id: bytes, tell: Callable[[str], None] | None) -> Study:
        last = ""

        def told(view: StudyView) -> None:
            nonlocal last
            line = view.words()
            if tell is not None and line != last:
                last = line
                tell(line)

        keep: Callable[[], Awaitable[None]] = self._opened.save
        work = Researching(self._alliance, self._opened.wallet, keep, told)
        return self._released(await work.finish(study_id))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The loop's thread, and what is closed on it."""

    loop: LoopThread
    stack: AsyncExitStack

    def close(self) -> None:
        if not self.loop.closed:
            try:
                self.loop.wait(self.stack.aclose())
            finally:
                self.loop.close()
