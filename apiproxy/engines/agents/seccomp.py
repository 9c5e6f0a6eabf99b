"""Seccomp filter of the jail: system calls that namespaces do not contain.

These are new namespaces and mounts, tracing, kernel interfaces with a history of flaws, memory that no process
accounts for, and sockets outside of the network namespace: AF_VSOCK reaches the host of a virtual machine.
Numbers: `asm/unistd_64.h` and `asm-generic/unistd.h` of Linux 6.12.
"""

import errno
import struct

ARCHITECTURES = ("x86_64", "aarch64")

_DENIED: dict[str, tuple[int, int]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "fanotify_init": (300, 262),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
"""Numbers on x86_64 and aarch64."""
_MISSING = {"clone3": (435, 435), "memfd_create": (319, 279), "io_uring_setup": (425, 425)}
"""Reported as not implemented, so that programs use an older call. A filter cannot see the flags of clone3."""
_CLONE = (56, 220)
_SOCKET = (41, 198)
_SOCKETPAIR = (53, 199)
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW… of all kinds."""
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: all within the network namespace."""

_MACHINES = (0xC000003E, 0xC00000B7)
"""AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64."""
_X32 = 0x40000000
_LOAD, _JUMP, _IF_EQUAL, _IF_BITS, _IF_AT_LEAST, _RETURN = 0x20, 0x05, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _MACHINE_AT, _ARGUMENT_AT = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true and if false, operand."""


def seccomp_filter() -> bytes:
    """The filter as BPF, for both architectures; programs of any other are killed."""
    program: list[Instruction] = [(_LOAD, 0, 0, _MACHINE_AT)]
    for machine, _ in enumerate(ARCHITECTURES):
        rules = _rules(machine)
        program += [(_IF_EQUAL, 1, 0, _MACHINES[machine]), (_JUMP, 0, 0, len(rules)), *rules]
    program.append(_answer(_KILL))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _rules(machine: int) -> list[Instruction]:
    rules: list[Instruction] = [(_LOAD, 0, 0, _NUMBER_AT)]
    if machine == 0:
        rules += [(_IF_AT_LEAST, 0, 1, _X32), _answer(_ERROR | errno.ENOSYS)]
    for table, code in ((_DENIED, errno.EPERM), (_MISSING, errno.ENOSYS)):
        for numbers in table.values():
            rules += [(_IF_EQUAL, 0, 1, numbers[machine]), _answer(_ERROR | code)]
    rules += _if_called(
        _CLONE[machine], [(_IF_BITS, 0, 1, _NEW_NAMESPACES), _answer(_ERROR | errno.EPERM), _answer(_ALLOW)]
    )
    families: list[Instruction] = []
    for family in _FAMILIES:
        families += [(_IF_EQUAL, 0, 1, family), _answer(_ALLOW)]
    families.append(_answer(_ERROR | errno.EAFNOSUPPORT))
    rules += _if_called(_SOCKET[machine], families) + _if_called(_SOCKETPAIR[machine], families)
    return [*rules, _answer(_ALLOW)]


def _if_called(number: int, rules: list[Instruction]) -> list[Instruction]:
    """Rules on the first argument of that call; all of them return."""
    return [(_IF_EQUAL, 0, len(rules) + 1, number), (_LOAD, 0, 0, _ARGUMENT_AT), *rules]


def _answer(value: int) -> Instruction:
    return (_RETURN, 0, 0, value)
