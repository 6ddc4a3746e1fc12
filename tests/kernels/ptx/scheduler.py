"""Runs a block: the threads that are furthest behind go first, so that those who parted meet again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.ptx.block import Block, Group, Lanes, full_warps
from kernels.ptx.code import Instruction, Symbol
from kernels.ptx.errors import Fault, Unsupported
from kernels.ptx.instructions import Rendezvous, find_handler, rendezvous_of
from kernels.ptx.kinds import Array

_MAX_STEPS = 1_000_000
_CONTROL = ("bra", "bra.uni", "ret", "exit", "trap")


def check_instructions(instructions: list[Instruction]) -> None:
    """Raise Unsupported for the first instruction that nothing here can execute."""
    for instruction in instructions:
        if instruction.opcode not in _CONTROL:
            find_handler(instruction)


@dataclass
class Scheduler:
    """The groups of a block's threads. One that waits is let go when all whom it waits for have come."""

    block: Block

    def run(self) -> None:
        """Run the block to its end."""
        self._groups = [Group(0, np.arange(self.block.num_threads))]
        for _ in range(_MAX_STEPS):
            if not self._groups:
                break
            self._step(self._next_group())
        else:
            raise Fault(f"no end after {_MAX_STEPS} instructions")
        if self.block.pending_copies:
            raise Fault("cp.async that nobody has waited for")

    def _next_group(self) -> Group:
        if len(self._groups) == 1 and not self._groups[0].is_waiting:
            return self._groups[0]
        ready = [group for group in self._groups if not group.is_waiting]
        if not ready:
            raise Fault(f"deadlock: {self._describe_waiting()}")
        group = min(ready, key=lambda group: group.pc)
        same = [other for other in self._groups if other.pc == group.pc]
        if len(same) > 1:
            group.threads = np.sort(np.concatenate([other.threads for other in same]))
            self._groups = [other for other in self._groups if other is group or other.pc != group.pc]
        return group

    def _describe_waiting(self) -> str:
        instructions = self.block.kernel.instructions
        return "; ".join(f"{group.threads.size} threads wait at {instructions[group.pc]}" for group in self._groups)

    def _step(self, group: Group) -> None:
        instruction = self.block.kernel.instructions[group.pc]
        try:
            if instruction.opcode in _CONTROL:
                self._control(group, instruction)
            else:
                self._execute(group, instruction)
        except (Fault, Unsupported, ValueError) as error:
            kind = type(error) if isinstance(error, (Fault, Unsupported)) else Unsupported
            if "line " in str(error):
                raise
            raise kind(f"{instruction}: {error}") from error

    def _active(self, group: Group, instruction: Instruction) -> Array:
        """Which threads of the group the guard lets take part."""
        if instruction.guard is None:
            return np.ones(group.threads.size, np.bool_)
        return self.block.predicate(instruction.guard, self._lanes(group.threads)) ^ instruction.is_guard_negated

    def _lanes(self, threads: Array) -> Lanes:
        return slice(None) if threads.size == self.block.num_threads else threads

    def _execute(self, group: Group, instruction: Instruction) -> None:
        handler = find_handler(instruction)
        threads = group.threads
        if instruction.guard is not None:
            threads = threads[self._active(group, instruction)]
        rendezvous = rendezvous_of(instruction)
        if rendezvous is not Rendezvous.NONE and threads.size:
            complete = full_warps(threads) if rendezvous is Rendezvous.WARP else self._is_whole_block(threads)
            if not complete.all():
                self._wait(group, threads[~complete])
                threads = threads[complete]
        if threads.size:
            handler(self.block, instruction, self._lanes(threads))
        if group.is_waiting:
            return
        group.pc += 1

    def _is_whole_block(self, threads: Array) -> Array:
        return np.full(threads.size, threads.size == self.block.num_threads)

    def _wait(self, group: Group, threads: Array) -> None:
        """These stay behind, at the same instruction; the rest of the group goes on."""
        rest = np.setdiff1d(group.threads, threads)
        if rest.size:
            self._groups.append(Group(group.pc, threads, is_waiting=True))
            group.threads = rest
        else:
            group.is_waiting = True

    def _control(self, group: Group, instruction: Instruction) -> None:
        active = self._active(group, instruction)
        if instruction.opcode == "trap" and active.any():
            raise Fault("trap")
        if active.all():
            self._leave(group, instruction)
        elif not active.any():
            group.pc += 1
        else:
            leaving = Group(group.pc, group.threads[active])
            group.threads = group.threads[~active]
            group.pc += 1
            self._groups.append(leaving)
            self._leave(leaving, instruction)

    def _leave(self, group: Group, instruction: Instruction) -> None:
        """A whole group branches, or ends."""
        if not instruction.opcode.startswith("bra"):
            self._groups.remove(group)
            return
        (target,) = instruction.operands
        assert isinstance(target, Symbol)
        group.pc = self.block.kernel.labels[target.name]
