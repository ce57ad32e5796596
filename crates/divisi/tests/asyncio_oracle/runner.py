"""Runs scenarios on CPython's asyncio, in virtual time, and prints what happened.

    python3 runner.py < scenarios > traces

Each line of the input is a scenario as `scenario.rs` writes it; each line of the output has four fields, divided by tabs: the rules
that it exercised, divided by "; "; "yes" if something was cancelled during a clean-up, or "no"; "-", or an instant and the row of
`differences.rs` because of which the two systems differ from then on; and the trace, as `trace.rs` reads it.

Tasks, timeouts, cancellation and task groups are asyncio's own. CPython 3.11 lacks some corrections to them that later
versions have; `Task` and `Group` below add those, and only those, where the version needs them.
"""

import asyncio
import json
import sys
from asyncio import CancelledError

NEW_UNCANCEL = sys.version_info >= (3, 13)
NEW_GROUP_CANCEL = hasattr(asyncio.TaskGroup, "cancel")


# ---- virtual time -------------------------------------------------------------------------------------------------


class Hang(BaseException):
    """Nothing can run any more."""


class Selector:
    """Time passes only here, where the loop would wait."""

    def __init__(self):
        self.now = 0

    def select(self, timeout):
        if timeout is None:
            raise Hang
        self.now += timeout
        return []

    def close(self):
        pass


class Loop(asyncio.BaseEventLoop):
    """An event loop without I/O whose unit of time is a nanosecond: whole numbers, so that nothing is rounded."""

    def __init__(self):
        super().__init__()
        self._selector = Selector()
        self._clock_resolution = 0.5
        self.set_task_factory(lambda loop, coro, **kwargs: Task(coro, loop=loop, **kwargs))
        self.set_exception_handler(self._note)
        self.broken = None

    def _note(self, loop, context):
        if "Exception in callback" in context["message"]:
            self.broken = context["exception"]

    def time(self):
        return self._selector.now

    def _process_events(self, events):
        pass


# The loop waits for a day of its units at most.
asyncio.base_events.MAXIMUM_SELECT_TIMEOUT = float("inf")


# ---- what later versions correct ----------------------------------------------------------------------------------


class Task(asyncio.tasks._PyTask):
    """A task that knows the groups and time limits that it is inside of, outermost first."""

    def __init__(self, *args, **kwargs):
        self.scopes = []
        self.started_at = self.by_hand_at = None
        super().__init__(*args, **kwargs)

    def cancel(self, msg=None, origin=None):
        if not self.done():
            by = asyncio.current_task()
            now = self.get_loop().time()
            if self.started_at == now and (by is None or by.started_at != now):
                # It began in this instant, and who cancels it has come here by turns of asyncio's queue: in divisi it may be there before.
                self.get_loop().world.differs(now, "instant")
            # What is inside the scope that asks for it; the whole task, if none does.
            inside = self.scopes if origin is None else self.scopes[self.scopes.index(origin) + 1 :]
            for scope in inside:
                if isinstance(scope, Group):
                    scope.tell()
            for scope in self.scopes:
                if isinstance(scope, Group) and scope is not origin and scope._exiting:
                    scope.exiting_interrupted = True
        return super().cancel(msg)

    def uncancel(self):
        left = super().uncancel()
        if not NEW_UNCANCEL and left == 0:
            self._must_cancel = False  # 3.13: a request that was taken back is not delivered
        return left


class Parent:
    """A group's or a time limit's view of its task: a request to cancel says where it comes from."""

    def __init__(self, task, origin):
        self.__dict__.update(task=task, origin=origin)

    def cancel(self, msg=None):
        return self.task.cancel(msg, self.origin)

    def __getattr__(self, name):
        return getattr(self.task, name)


class Timeout(asyncio.Timeout):
    async def __aenter__(self):
        await super().__aenter__()
        self._task.scopes.append(self)
        self._task = Parent(self._task, self)
        return self

    async def __aexit__(self, *error):
        self._task = self._task.task
        self._task.scopes.remove(self)
        return await super().__aexit__(*error)


class Group(asyncio.TaskGroup):
    """A task group that counts which rules are exercised."""

    def __init__(self, world, name, parent):
        super().__init__()
        self.world, self.name, self.language_parent = world, name, parent
        # By `cancel()`; while it waited for its children; because of a scope around it; one of its children was.
        self.cancelled = self.exiting_interrupted = self.told = self.cut = False
        self.aborted_at = None

    async def __aenter__(self):
        await super().__aenter__()
        task = self._parent_task
        self.open_around = [scope for scope in task.scopes if isinstance(scope, Group)]
        self.cancels_at_entry = task.cancelling()
        task.scopes.append(self)
        self._parent_task = Parent(task, self)
        if task._must_cancel:
            self.tell()  # a scope around it is cancelled already
        return self

    def tell(self):
        """Row "at once": a cancel reaches the children of all groups inside, not only when it has come back out through the body."""
        if not self._aborting and (self._tasks or not self._exiting):
            self.world.rule("A1 a cancel reaches the children of groups inside at once")
            self.told = True
            self._abort()

    async def __aexit__(self, et, exc, tb):
        world, task = self.world, self._parent_task.task
        if et is None and self._tasks:
            world.rule("R1 waits for children")
        if et is not None and issubclass(et, Failure):
            world.rule("R5 body's error is wrapped")
            if self._errors or self._tasks:
                world.rule("R5 body's error cancels children")
        uncancels = NEW_UNCANCEL or self._parent_cancel_requested
        interrupted = task._must_cancel and bool(self._tasks)
        try:
            await super().__aexit__(et, exc, tb)
        except BaseException as error:
            self._leave(task, uncancels)
            if isinstance(error, BaseExceptionGroup):
                if any(isinstance(inner, BaseExceptionGroup) for inner in error.exceptions):
                    world.rule("R7 nested failure wraps once a level")
                if len(error.exceptions) > 1 and error.exceptions[-1] is exc:
                    world.rule("R4 body's error comes last")
                if task.cancelling():
                    world.rule("R6 errors win, the cancel stays")
                    if any(g._parent_cancel_requested and not g.cancelled for g in self.open_around):
                        world.rule("R8 inner and outer fail")
                    if not NEW_UNCANCEL:
                        again(task)  # 3.13: the outside's cancel is delivered at the next await
            elif isinstance(error, CancelledError):
                if any(g._aborting for g in self.open_around):
                    world.rule("R7 a cancelled inner group adds nothing")
                else:
                    world.rule("R6 a cancel passes through")
            raise
        self._leave(task, uncancels)
        if self.cancelled:
            world.rule("R11 cancel() ends without an error")
            if (interrupted or self.exiting_interrupted) and task.cancelling():
                world.rule("R11 cancel() does not swallow the outside's")
                if et is None and not self.cut:
                    world.differs(self._loop.time(), "ready")
                if not NEW_GROUP_CANCEL:
                    raise CancelledError  # 3.15 (gh-155433): a cancel from outside that came meanwhile is not lost
        if self.cancelled and et is None and self.cut and task.cancelling():
            world.differs(self._loop.time(), "cut")
        if self.told and et is None:
            if self.cut:
                task._must_cancel = False
                raise CancelledError  # as if the group had only now been told
            if self.exiting_interrupted or interrupted:
                world.differs(self._loop.time(), "ready")
                again(task)
        return True  # 3.15: the cancel of a cancelled group stops here

    def _leave(self, task, uncancelled):
        task.scopes.remove(self)
        if self._parent_cancel_requested and not uncancelled:
            task.uncancel()  # 3.13: also if it was the group's while it waited for its children
        if self._parent_cancel_requested and not self.cancelled and task.cancelling() <= self.cancels_at_entry:
            self.world.rule("R9 the group's own cancel does not leak")

    def _on_task_done(self, task):
        now = self._loop.time()
        failed = not task.cancelled() and task.exception() is not None
        if failed:
            if self._aborting:
                self.world.rule("R4 errors while being cancelled count")
            else:
                self.world.rule("R3 the first error cancels the rest")
        elif not self._aborting:
            if task.cancelled():
                self.world.rule("R2 a child cancelled by hand is no error")
            if len(self._tasks) > 1 or not self._exiting:
                self.world.rule("R13 a child that ended is released")
        if self._aborting and task.by_hand_at == now == self.aborted_at:
            self.world.differs(now, "instant")  # which of the two it was cancelled by
        self.cut |= self._aborting and self.world.outcome_of(task) in (None, "cancelled")
        if failed and self.aborted_at in (None, now):
            for context in self.world.contexts.values():
                # asyncio tells the others a turn of its queue later, and what was spawned in this instant has begun meanwhile.
                if context.handle is not task and context.handle.started_at == now and self.holds(context):
                    self.world.differs(now, "instant")
        super()._on_task_done(task)

    def _abort(self):
        if self.aborted_at is None:
            self.aborted_at = self._loop.time()
        super()._abort()

    def holds(self, context):
        """Whether a task is in this group, or in a group inside."""
        group = context.group
        while group is not None:
            if group is self or self in group.open_around:
                return True
            group = group.language_parent.group
        return False

    def cancel(self):
        if NEW_GROUP_CANCEL:
            super().cancel()
        elif not self._aborting and (self._tasks or not self._exiting):  # 3.15
            self._abort()
            if not self._parent_cancel_requested:
                self._parent_cancel_requested = True
                self._parent_task.cancel()


def again(task):
    """Asks for a cancel once more that was delivered already, without counting it twice."""
    task.uncancel()
    asyncio.tasks._PyTask.cancel(task)  # whom it concerns has been told


# ---- the language -------------------------------------------------------------------------------------------------


class Failure(Exception):
    """Raised by a statement."""


class Raised(Failure):
    pass


class Elapsed(Failure):
    pass


def show(error):
    if isinstance(error, BaseExceptionGroup):
        return "[" + " ".join(map(show, error.exceptions)) + "]"
    kind = "time" if isinstance(error, Elapsed) else "error"
    return f"{kind} {error.args[0]}"


async def shielded(world, what, coro):
    """What divisi calls a shield: asyncio's, and the caller stays until the end, when a cancel that came meanwhile is asked for again."""
    task = asyncio.current_task()
    inner = asyncio.ensure_future(coro)
    interrupted = False
    try:
        while True:
            try:
                return await asyncio.shield(inner)
            except CancelledError:
                if inner.cancelled():
                    raise AssertionError("nobody cancels what is shielded") from None
                interrupted = True
                world.rule(f"S1 a {what} outlives a cancel")
                if what == "clean-up":
                    world.cancelled_cleanup = True
    finally:
        if interrupted:
            again(task)


class Context:
    """Where a block runs: the language's task (a shielded part runs in another one of asyncio's)."""

    def __init__(self, task, group):
        self.task, self.first_step, self.group = task, True, group
        self.handle = None
        self.outcome = self.ended_at = None
        self.cleanups = 0


class World:
    def __init__(self, loop):
        self.loop = loop
        loop.world = self
        self.trace, self.rules, self.exempt = [], set(), None
        self.cancelled_cleanup = False
        self.beaten = []  # joins that were cancelled, and when
        self.contexts, self.groups, self.timeouts = {}, {}, {}


    def outcome_of(self, handle):
        return next(context.outcome for context in self.contexts.values() if context.handle is handle)

    def rule(self, name):
        self.rules.add(name)

    def differs(self, time, row):
        """From this instant on, because of this row of the table."""
        if self.exempt is None or time < self.exempt[0]:
            self.exempt = [time, row]

    def event(self, context, text):
        self.trace.append([self.loop.time(), context.task, text])

    async def block(self, context, statements):
        for statement in statements:
            number, kind, *arguments = statement
            await getattr(self, kind)(context, number, *arguments)

    async def log(self, context, number):
        self.event(context, f"log {number}")

    async def sleep(self, context, number, duration):
        await asyncio.sleep(duration)
        context.first_step = False
        self.event(context, f"slept {number}")

    async def meet(self, context, number, until):
        if until > self.loop.time():
            try:
                await asyncio.sleep(until - self.loop.time())
            except CancelledError:
                if self.loop.time() == until:
                    self.differs(until, "ready")
                raise
            context.first_step = False
        self.event(context, f"met {number}")

    async def _raise(self, context, number):
        raise Raised(number)

    async def panic(self, context, number):
        raise SystemExit(number)

    async def spawn(self, context, number, group, body):
        group = self.groups.get(group)
        if group is None:
            return self.event(context, f"spawn {number}: no group")
        child = Context(number, group)
        coro = self.child(child, body)
        try:
            handle = group.create_task(coro)
        except RuntimeError as error:
            coro.close()
            if "finished" in str(error):
                self.rule("R12 a group that is over takes no child")
            else:
                self.rule("R3 a failing group takes no child")
            return self.event(context, f"spawn {number}: refused")
        if group._exiting:
            self.rule("R1 children of children are waited for")
        child.handle = handle
        self.contexts[number] = child
        self.event(context, f"spawn {number}")

        def ended(handle):
            if child.outcome is None:
                child.outcome = "cancelled"
                child.ended_at = self.loop.time()
                self.rule("C1 cancelled before the first step: never starts")
                self.event(child, "end: never started")

        handle.add_done_callback(ended)

    async def child(self, context, body):
        context.handle.started_at = self.loop.time()
        self.event(context, "start")
        try:
            await self.block(context, body)
        except CancelledError:
            context.outcome = "cancelled"
            raise
        except Exception as error:
            context.outcome = show(error)
            raise
        else:
            context.outcome = "ok"
        finally:
            context.ended_at = self.loop.time()
            self.event(context, f"end: {context.outcome}")

    async def cancel(self, context, number, target):
        target = self.contexts.get(target)
        if target is None:
            return self.event(context, f"cancel {number}: no task")
        if target.outcome is not None:
            self.rule("C3 cancelling what has ended does nothing")
        if target is context:
            self.rule("C2 a task may cancel itself")
        self.event(context, f"cancel {number}")
        target.handle.by_hand_at = self.loop.time()
        target.handle.cancel()

    async def cancel_group(self, context, number, group):
        group = self.groups.get(group)
        if group is None:
            return self.event(context, f"cancel group {number}: no group")
        self.event(context, f"cancel group {number}")
        if not group._aborting and (group._tasks or not group._exiting):
            group.cancelled = True
            self.rule("R11 cancel() of a group")
            if context.first_step and context.handle in group._tasks:
                self.rule("R14 a child cancels its group in its first step")
        elif not group._aborting or not group._tasks:
            self.rule("R11 cancel() of a group that is over does nothing")
        group.cancel()

    async def join(self, context, number, target):
        target = self.contexts.get(target)
        if target is None:
            return self.event(context, f"join {number}: no task")
        # Not `await task`: that would hand a cancel on to it.
        if target.outcome is None:
            try:
                await asyncio.wait([target.handle])
            except CancelledError:
                self.beaten.append((self.loop.time(), target))
                raise
            context.first_step = False
        self.event(context, f"join {number}: {target.outcome}")

    async def group(self, context, number, catch, body):
        try:
            async with Group(self, number, context) as group:
                self.groups[number] = group
                await self.block(context, body)
        except SystemExit as panic:
            self.rule("R10 a panic of the body leaves bare, after the children")
            # 3.15 (gh-135736): the errors of the tasks go to the exception handler.
            reported = len(group._errors)
            self.event(context, f"group {number}: panic {panic.args[0]} and {reported} errors")
        except BaseExceptionGroup as error:
            self.event(context, f"group {number}: {show(error)}")
            if not catch:
                raise
        else:
            self.event(context, f"group {number}: ok")

    async def timeout(self, context, number, kind, time, catch, body):
        now = self.loop.time()
        deadline = now + time if kind == "after" else time
        around = [t for t, task in self.timeouts.values() if task is asyncio.current_task()]
        if deadline <= now and any(other.zero and other.when() <= now for other in around):
            self.differs(now, "zero")
        pending = asyncio.current_task()._must_cancel
        limit = Timeout(deadline)
        limit.zero = time == 0
        self.timeouts[number] = limit, asyncio.current_task()
        if context.cleanups:
            self.rule("T6 a time limit works inside a clean-up")
        try:
            async with limit:
                await self.block(context, body)
        except TimeoutError:
            self.rule("T1 a limit that is over reports it")
            if pending:
                self.differs(self.loop.time(), "swallow")
            self.event(context, f"timeout {number}: elapsed")
            if not catch:
                raise Elapsed(number) from None
        except CancelledError:
            self.rule("T5 a foreign cancel is not converted")
            if limit.expired():
                self.rule("T2 of limits that are over the outermost reports")
                if any(other.when() == limit.when() for other in around):
                    self.rule("T3 of equal limits the outermost reports")
            raise
        except Exception as error:
            self.rule("T4 a foreign error passes a limit")
            self.event(context, f"timeout {number}: {show(error)}")
            if not catch:
                raise
        else:
            if limit.expired():
                self.rule("T7 a value that came in spite of the limit counts")
            self.event(context, f"timeout {number}: ok")
        finally:
            del self.timeouts[number]
            if time == 0:
                self.rule("T8 a limit of zero")

    async def reschedule(self, context, number, timeout, after):
        limit, _ = self.timeouts[timeout]
        try:
            limit.reschedule(self.loop.time() + after)
        except RuntimeError:
            self.rule("T10 a limit that is over cannot be moved")
            if limit._task.cancelling() > 1:
                self.differs(self.loop.time(), "expired")
            self.event(context, f"reschedule {number}: too late")
        else:
            self.rule("T9 a limit can be moved")
            self.event(context, f"reschedule {number}")

    async def shield(self, context, number, body):
        try:
            await shielded(self, "shield", self.block(context, body))
        finally:
            self.event(context, f"shield {number} over")

    async def _finally(self, context, number, body, cleanup):
        how = "ok"
        try:
            await self.block(context, body)
        except CancelledError:
            how = "cancelled"
            self.rule("F1 a clean-up runs after a cancel")
            raise
        except BaseException as error:
            how = "failed"
            self.rule("F4 a clean-up runs after an error")
            raise
        finally:
            await shielded(self, "clean-up", self.cleanup(context, number, how, cleanup))

    async def cleanup(self, context, number, how, cleanup):
        self.event(context, f"clean-up {number} after {how}")
        if context.cleanups:
            self.rule("F2 a clean-up inside a clean-up")
        context.cleanups += 1
        try:
            await self.block(context, cleanup)
        except Exception as error:
            # Row "clean-up's error": it is reported, and what the body came to counts.
            self.rule("F5 an error of a clean-up changes nothing outside")
            self.event(context, f"clean-up {number} failed: {show(error)}")
        finally:
            context.cleanups -= 1
            self.event(context, f"clean-up {number} over")


setattr(World, "raise", World._raise)
setattr(World, "finally", World._finally)


def run(scenario):
    loop = Loop()
    asyncio.set_event_loop(loop)
    world = World(loop)
    root = Context(0, None)
    try:
        root.handle = loop.create_task(world.child(root, scenario))
        world.contexts[0] = root
        try:
            loop.run_until_complete(root.handle)
        except (Failure, BaseExceptionGroup, CancelledError):
            pass
        except Hang:
            world.event(root, "hang")
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    if loop.broken:
        raise loop.broken
    for time, target in world.beaten:
        if target.ended_at == time:
            world.differs(time, "ready")
    tasks = {}
    for time, task, text in world.trace:
        tasks.setdefault(task, []).append(f"{int(time)} {text}")
    trace = " | ".join(f"task {task}: " + ", ".join(events) for task, events in sorted(tasks.items()))
    cleanup = "yes" if world.cancelled_cleanup else "no"
    exempt = "-" if world.exempt is None else f"{int(world.exempt[0])} {world.exempt[1]}"
    return "\t".join(["; ".join(sorted(world.rules)), cleanup, exempt, trace])


def main():
    for line in sys.stdin:
        print(run(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
