//! The system calls that each part may make. Everything that is not in a part's tables it cannot do, whatever it runs.
//!
//! ```text
//!  worker, keyholder            allowed ── as it says      answered ── with an error     all others ── the process is killed
//!  dialer, token, supervisor    allowed ── as it says      never ── the process is killed     all others ── EPERM
//! ```
//!
//! A part of our own code alone makes no other call but when somebody else has taken it over. The dialer and the token
//! run modules of the host's, which try this and that, and what the supervisor's filter says holds for its children too;
//! there EPERM is the default, and death is for what none of them has any business with. The kernel notes each killed
//! process in its audit log, with the call's number; the supervisor's log says which part it was.
//!
//! One filter has one answer, so there is one for each: first those that answer with an error and let the rest
//! through, then the list. The kernel remembers the calls that are allowed whatever their arguments (since Linux 5.11) and
//! runs no filter for them; so those that move bytes have no conditions, and where a line stands costs nothing.

mod base;
mod dialer;
mod keyholder;
mod never;
mod supervisor;
mod token;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

use super::{Part, Settings};

/// A line of a table.
#[derive(Clone, Copy, Debug)]
struct Call {
    number: i64,
    name: &'static str,
    rule: Rule,
    /// What the call is for here, or why it is answered so.
    why: &'static str,
}

/// All of these.
type Arguments = &'static [Argument];

/// What becomes of a call. [`When`](Rule::When) and [`Answer`](Rule::Answer) hold for any of their alternatives.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Allowed.
    Always,
    /// Allowed with such arguments.
    When(&'static [Arguments]),
    /// Not made, but answered with this error; without alternatives, whatever the arguments.
    Answer(i32, &'static [Arguments]),
}

/// What one argument is.
#[derive(Clone, Copy, Debug)]
struct Argument {
    at: u8,
    is: Is,
}

#[derive(Clone, Copy, Debug)]
enum Is {
    /// This number of 32 bits; what stands above them the kernel does not look at either.
    Number(u32),
    /// These bits of the mask, and none of its others.
    Bits { mask: u32, set: u32 },
    /// A pointer to nothing.
    Null,
    /// The id of this process.
    Ours,
}

const fn is(at: u8, number: i32) -> Argument {
    Argument { at, is: Is::Number(number.cast_unsigned()) }
}

const fn bits(at: u8, mask: i32, set: i32) -> Argument {
    Argument { at, is: Is::Bits { mask: mask.cast_unsigned(), set: set.cast_unsigned() } }
}

const fn null(at: u8) -> Argument {
    Argument { at, is: Is::Null }
}

const fn ours(at: u8) -> Argument {
    Argument { at, is: Is::Ours }
}

/// Lines of `CALL: RULE, "REASON";`.
macro_rules! calls {
    ($($(#[$only:meta])* $call:ident: $rule:expr, $why:literal;)*) => {
        &[$($(#[$only])* Call { number: libc::$call, name: stringify!($call), rule: $rule, why: $why }),*]
    };
}
use calls;

/// The tables of a part, which it may use itself.
fn tables(part: Part, settings: &Settings) -> Vec<&'static [Call]> {
    let mut tables = match part {
        Part::Worker => worker::TABLES.to_vec(),
        Part::Keyholder => keyholder::TABLES.to_vec(),
        Part::Dialer => dialer::TABLES.to_vec(),
        Part::Token => token::TABLES.to_vec(),
        Part::Supervisor => supervisor::TABLES.to_vec(),
    };
    if part == Part::Token && settings.network {
        tables.push(token::NETWORK);
    }
    tables
}

/// What a part may call itself: each call's name, and its reason. For documents and those who check them.
pub(super) fn lines(part: Part) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = tables(part, &Settings::default()).into_iter().flatten();
    let may = lines.filter(|call| matches!(call.rule, Rule::Always | Rule::When(_)));
    may.map(|call| (&call.name["SYS_".len()..], call.why))
}

/// What the filters say of one call, over all lines.
#[derive(Debug, Default)]
struct Verdict {
    always: bool,
    when: Vec<Arguments>,
    answers: BTreeMap<i32, Vec<Arguments>>,
}

type Verdicts = BTreeMap<i64, Verdict>;

fn verdicts(part: Part, settings: &Settings) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let mut add = |call: &Call, answers: bool| {
        let verdict = verdicts.entry(call.number).or_default();
        match call.rule {
            Rule::Always => verdict.always = true,
            Rule::When(alternatives) => verdict.when.extend(alternatives),
            // It has to come past the list to be answered.
            Rule::Answer(error, alternatives) => {
                verdict.always |= alternatives.is_empty();
                verdict.when.extend(alternatives);
                if answers {
                    verdict.answers.entry(error).or_default().extend(alternatives);
                }
            }
        }
    };
    for call in tables(part, settings).into_iter().flatten() {
        add(call, true);
    }
    if part == Part::Supervisor {
        // Its filter is its children's too. What it answers with an error itself, it answers for them.
        let networked = Settings { network: true, ..settings.clone() };
        for other in Part::ALL.into_iter().filter(|other| *other != part) {
            for call in tables(other, &networked).into_iter().flatten() {
                add(call, false);
            }
        }
    }
    verdicts
}

/// The filters of a part, in the order in which they are to be put in force.
fn programs(part: Part, settings: &Settings, us: u32) -> io::Result<Vec<BpfProgram>> {
    let verdicts = verdicts(part, settings);
    let mut programs = Vec::new();
    let errors: BTreeSet<i32> =
        verdicts.values().flat_map(|verdict| verdict.answers.keys().copied()).collect();
    for error in errors {
        let answered = verdicts.iter().filter_map(|(number, verdict)| {
            Some(rules(verdict.answers.get(&error)?, us).map(|rules| (*number, rules)))
        });
        let action = SeccompAction::Errno(error.cast_unsigned());
        programs.push(program(answered.collect::<io::Result<_>>()?, SeccompAction::Allow, action)?);
    }
    let mismatch = match part.has_foreign_code() {
        true => SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        false => SeccompAction::KillProcess,
    };
    if part.has_foreign_code() {
        let never =
            never::CALLS.iter().chain(if part == Part::Supervisor { &[] } else { never::NOT_IN_PARTS });
        let never = never.map(|call| (call.number, Vec::new())).collect();
        programs.push(program(never, SeccompAction::Allow, SeccompAction::KillProcess)?);
    }
    let allowed = verdicts.iter().map(|(number, verdict)| {
        let alternatives = if verdict.always { &[][..] } else { &verdict.when };
        rules(alternatives, us).map(|rules| (*number, rules))
    });
    programs.push(program(allowed.collect::<io::Result<_>>()?, mismatch, SeccompAction::Allow)?);
    Ok(programs)
}

/// Puts the filters of this part in force, for all threads and for good; how many there are.
pub(super) fn install(part: Part, settings: &Settings) -> io::Result<usize> {
    let programs = programs(part, settings, std::process::id())?;
    for program in &programs {
        // Threads beside the first are rare, and the simple way is known to older kernels.
        match part {
            Part::Supervisor => apply_filter_all_threads(program).map_err(io::Error::other)?,
            _ => apply_filter(program).map_err(io::Error::other)?,
        }
    }
    Ok(programs.len())
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, mismatch, matched, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

fn rules(alternatives: &[Arguments], us: u32) -> io::Result<Vec<SeccompRule>> {
    let condition = |argument: &Argument| {
        let (length, compare, value) = match argument.is {
            Is::Number(number) => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number.into()),
            Is::Bits { mask, set } => {
                (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask.into()), set.into())
            }
            Is::Null => (SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
            Is::Ours => (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, us.into()),
        };
        SeccompCondition::new(argument.at, length, compare, value)
    };
    let rule = |arguments: &Arguments| {
        let conditions = arguments.iter().map(condition).collect::<Result<_, _>>();
        conditions.and_then(SeccompRule::new).map_err(io::Error::other)
    };
    alternatives.iter().map(rule).collect()
}

#[cfg(test)]
mod tests;
