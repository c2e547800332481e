//! The tables are whole and say why, and the filters made of them are small enough.

use super::*;

fn call(part: Part, number: i64) -> Option<Verdict> {
    verdicts(part, &Settings::default()).remove(&number)
}

#[test]
fn every_line_says_why() {
    for part in Part::ALL {
        let networked = Settings { network: true, ..Settings::default() };
        for call in
            tables(part, &networked).into_iter().flatten().chain(never::CALLS).chain(never::NOT_IN_PARTS)
        {
            assert!(call.name.starts_with("SYS_") && call.why.len() > 2, "{part}: {call:?}");
        }
    }
}

#[test]
fn no_table_says_a_call_twice() {
    for part in Part::ALL {
        for table in tables(part, &Settings::default()) {
            let mut seen = BTreeSet::new();
            for call in table {
                let kind = matches!(call.rule, Rule::Answer(..));
                assert!(seen.insert((call.number, kind)), "{part}: {} twice", call.name);
            }
        }
    }
}

#[test]
fn who_may_nothing_has_no_way_out() {
    let out = [
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_openat2,
        libc::SYS_open_by_handle_at,
        libc::SYS_setresuid,
        libc::SYS_setuid,
        libc::SYS_capset,
        libc::SYS_seccomp,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pkey_mprotect,
        libc::SYS_personality,
        libc::SYS_userfaultfd,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_linkat,
        libc::SYS_getdents64,
        libc::SYS_sendmmsg,
        libc::SYS_shmget,
        libc::SYS_memfd_secret,
    ];
    for number in out {
        assert!(call(Part::Worker, number).is_none(), "worker: {number}");
        let secret = number == libc::SYS_memfd_secret;
        assert_eq!(call(Part::Keyholder, number).is_some(), secret, "keyholder: {number}");
    }
}

#[test]
fn what_has_a_dangerous_argument_is_never_free() {
    let looked_at = [
        libc::SYS_clone,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_prctl,
        libc::SYS_ioctl,
        libc::SYS_fcntl,
        libc::SYS_tgkill,
        libc::SYS_prlimit64,
        libc::SYS_socketpair,
        libc::SYS_setsockopt,
    ];
    for part in [Part::Worker, Part::Keyholder] {
        for number in looked_at {
            let verdict = call(part, number).expect("is there");
            assert!(!verdict.always && !verdict.when.is_empty(), "{part}: {number}");
        }
        let opened = call(part, libc::SYS_openat).expect("is answered");
        assert_eq!(opened.answers.keys().copied().collect::<Vec<_>>(), [libc::EACCES]);
    }
}

#[test]
fn nobody_may_what_nobody_ever_may() {
    for part in Part::ALL {
        let verdicts = verdicts(part, &Settings::default());
        for call in never::CALLS {
            assert!(!verdicts.contains_key(&call.number), "{part}: {}", call.name);
        }
        for call in never::NOT_IN_PARTS {
            let may = part == Part::Supervisor && call.number == libc::SYS_execve;
            assert_eq!(verdicts.contains_key(&call.number), may, "{part}: {}", call.name);
        }
    }
}

#[test]
fn the_supervisor_may_what_its_parts_may_and_what_confines_them() {
    let supervisor = verdicts(Part::Supervisor, &Settings::default());
    for part in Part::ALL {
        for number in verdicts(part, &Settings { network: true, ..Settings::default() }).keys() {
            assert!(supervisor.contains_key(number), "{part}: {number}");
        }
    }
    for number in [libc::SYS_seccomp, libc::SYS_landlock_restrict_self, libc::SYS_setresuid, libc::SYS_capset]
    {
        assert!(supervisor[&number].always, "{number}");
    }
}

#[test]
fn what_moves_bytes_is_free_of_conditions() {
    let hot = [
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_ctl,
        libc::SYS_close,
        libc::SYS_accept4,
        libc::SYS_shutdown,
    ];
    for part in [Part::Worker, Part::Keyholder] {
        assert!(hot.iter().all(|number| call(part, *number).is_some_and(|verdict| verdict.always)), "{part}");
    }
}

#[test]
fn filters_are_made_for_every_part_and_processor() {
    for part in Part::ALL {
        let programs = programs(part, &Settings::default(), 1).expect("filters");
        // The kernel takes 4096 instructions for each.
        assert!(programs.len() >= 3 && programs.iter().all(|program| program.len() < 2000), "{part}");
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let rules =
                verdicts(part, &Settings::default()).into_keys().map(|number| (number, Vec::new())).collect();
            let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
            assert!(BpfProgram::try_from(filter.expect("a filter")).is_ok(), "{part}");
        }
    }
}
