//! Runs a case in all three ways, with both versions of TLS, and says what is not as its line in the list has it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tlsify_client::{Pin, Sha256};
use tlsifyd_tests::{TestDaemon, tool};

use super::ask::{Came, Question, Shown, by_command, by_hand, by_library};
use super::case::{Alert, Case, Failure, Outcome, Scene};
use super::certificates::sha256;
use super::server::{ANSWER, Heard, Only, QUESTION, Server};

/// All of a group, so that one run shows everything that is wrong.
///
/// # Panics
/// With a line for each difference.
pub(crate) fn judge(cases: &[Case]) {
    let mut fds = tlsifyd_tests::exclusive();
    let openssl = !cases.iter().any(|case| case.needs_openssl) || tool("openssl").is_some();
    let daemon = TestDaemon::start();
    let (baseline, mut wrong) = (daemon.baseline(), Differences::new());
    fds.rebase();
    for case in cases.iter().filter(|case| openssl || !case.needs_openssl) {
        let mut report = Report { case: case.what, way: "", wrong: &mut wrong };
        one(&daemon, case, &mut report);
    }
    let list: Vec<String> = wrong
        .into_iter()
        .map(|((case, text), ways)| format!("  {case}: {text} ({})", ways.join(", ")))
        .collect();
    assert!(list.is_empty(), "{} differences:\n{}", list.len(), list.join("\n"));
    daemon.settled_fds(&baseline);
    fds.settled();
}

fn one(daemon: &TestDaemon, case: &Case, report: &mut Report<'_>) {
    let (scene, question) = case.set();
    for way in ["by hand", "by hand, TLS 1.2", "by the library"] {
        report.way = way;
        let mut server = scene.server.clone();
        if way == "by hand, TLS 1.2" {
            match &mut server {
                // What is no TLS has no version, and one that has only one was met already.
                Server::Shows { only: only @ None, .. } => *only = Some(Only::Tls12),
                _ => continue,
            }
        }
        let (net, heard) = server.start();
        let came = match way {
            "by the library" => by_library(daemon, net, &question),
            _ => by_hand(daemon, net, &question),
        };
        report.judge(case, &scene, &came, &heard.join());
    }
    // The command has no words for these yet.
    if !question.lists.is_empty() || !question.keys.is_empty() {
        return;
    }
    report.way = "by the command";
    let (net, heard) = scene.server.start();
    let (came, status, said) = by_command(daemon, net, &question);
    report.judge(case, &scene, &came, &heard.join());
    report.judge_command(case, &came, status, &said);
    if let Some(pin) = said.split_once("--trust pins --pin sha256:") {
        report.way = "as the hint says";
        follow(daemon, &scene, pin.1.trim_end(), report);
    }
}

/// Whoever does what the command proposes gets in: a hint that does not work is worse than none.
fn follow(daemon: &TestDaemon, scene: &Scene, pin: &str, report: &mut Report<'_>) {
    let Some(spki) = scene.spki.as_deref().filter(|spki| hash(spki) == pin) else {
        return report.add(format_args!("{pin} is not the key's"));
    };
    let question = Question { pins: vec![Pin::Spki(Sha256(sha256(spki)))], ..Question::default() };
    let (net, heard) = scene.server.start();
    let came = by_hand(daemon, net, &question);
    heard.join();
    if !matches!(came, Came::Established { .. }) {
        report.add(format_args!("it proposes to pin what cannot be pinned: {}", short(&came)));
    }
}

/// Case and what is different, and in which ways of asking.
type Differences = BTreeMap<(&'static str, String), Vec<&'static str>>;

struct Report<'a> {
    case: &'static str,
    way: &'static str,
    wrong: &'a mut Differences,
}

impl Report<'_> {
    fn judge(&mut self, case: &Case, scene: &Scene, came: &Came, heard: &Heard) {
        match (&case.outcome, came) {
            (Outcome::Opens(wanted), Came::Established { matched, answer, how, shown }) => {
                let wanted: Vec<String> =
                    wanted.iter().map(|&matched| self.matched(matched, scene)).collect();
                self.same("what matched", &wanted, matched);
                self.same("the answer", &ANSWER, &&answer[..]);
                self.same("how it ended", &"close-notify", &how.as_str());
                self.same("what was shown", &expected(scene), shown);
                self.same("what the server heard", &Heard { alert: None, data: QUESTION.to_vec() }, heard);
            }
            (Outcome::Fails(failure), Came::Failed { code, blame, alert, socket, shown, text }) => {
                self.same("the code", &failure.code.as_str(), &code.as_str());
                self.same("the blame", &failure.blame.as_str(), &blame.as_str());
                self.same("the socket", &failure.socket, &socket.as_str());
                let told = alert.as_ref().map(|(alert, from)| (alert.as_str(), from.as_str()));
                self.same("the alert", &in_words(failure.alert), &told);
                self.same("what was shown", &expected(scene), shown);
                self.judge_text(failure, text);
                let number = match failure.alert {
                    Alert::Sent(alert) => alert.split(' ').next().and_then(|number| number.parse().ok()),
                    Alert::Received(_) | Alert::None => None,
                };
                self.same("what the server heard", &Heard { alert: number, data: Vec::new() }, heard);
            }
            (_, other) => self.add(format_args!("it came to something else: {other:?}")),
        }
    }

    /// A sentence in the project's manner that has the words.
    fn judge_text(&mut self, failure: &Failure, text: &str) {
        for words in failure.says.iter().filter(|words| !text.contains(**words)) {
            self.add(format_args!("not \"{words}\" but \"{text}\""));
        }
        let is_plain = text.chars().all(|c| !c.is_control());
        // A name may end with a dot; a sentence does not.
        let ends = text.ends_with('.') && !failure.says.iter().any(|words| words.ends_with('.'));
        if ends || text.starts_with(char::is_uppercase) || text.len() > 700 || !is_plain {
            self.add(format_args!("no sentence as they are written here: \"{text}\""));
        }
    }

    fn judge_command(&mut self, case: &Case, came: &Came, status: i32, said: &str) {
        match (&case.outcome, came) {
            (Outcome::Opens(_), _) => self.same("status and words", &(0, ""), &(status, said)),
            (Outcome::Fails(failure), Came::Failed { code, text, .. }) => {
                self.same("the status", &failure.status, &status);
                if said.lines().next() != Some(&format!("tlsify: {text}")) {
                    self.add(format_args!("the first line is not the sentence: {said}"));
                }
                // What is not the pinned one is not to be pinned just so.
                if code == "pin-mismatch" && said.contains("--trust pins") {
                    self.add(format_args!("it proposes to pin whoever came: {said}"));
                }
            }
            _ => {}
        }
    }

    fn matched(&self, matched: &str, scene: &Scene) -> String {
        let first = scene.server.chain().first().map_or(&[][..], Vec::as_slice);
        match matched {
            "pin of the key" => {
                format!("pin:spki-sha256:{}", hash(scene.spki.as_deref().unwrap_or_default()))
            }
            "pin of the certificate" => format!("pin:certificate-sha256:{}", hash(first)),
            other => other.to_owned(),
        }
    }

    fn same<T: PartialEq + Debug>(&mut self, what: &str, wanted: &T, came: &T) {
        if wanted != came {
            self.add(format_args!("{what} is not\n      {}\n    but\n      {}", short(wanted), short(came)));
        }
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.wrong.entry((self.case, text.to_string())).or_default().push(self.way);
    }
}

/// What the answer tells of this server's certificates.
fn expected(scene: &Scene) -> Shown {
    let chain = if scene.arrives { scene.server.chain() } else { &[] };
    Shown {
        spki: scene.spki.as_deref().map(hash),
        certificate: chain.first().map(|der| hash(der)),
        chain: chain.to_vec(),
    }
}

fn in_words(alert: Alert) -> Option<(&'static str, &'static str)> {
    match alert {
        Alert::Sent(alert) => Some((alert, "us")),
        Alert::Received(alert) => Some((alert, "peer")),
        Alert::None => None,
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256(sha256(bytes)).to_string()
}

/// A chain in full helps nobody.
fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text,
    }
}
