//! The race by a clock that is turned by hand.

use super::*;
use tlsify_protocol::Code;

/// A race under way.
struct Run {
    race: Race,
    start: Instant,
    now: Instant,
}

const SIX: Family = Family::V6;
const FOUR: Family = Family::V4;

fn run(addresses: &[&str], families: &[Family], limit: u64) -> Run {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| at(text)).collect();
    let now = Instant::now();
    let race = Race::new(&addresses, families, now, now + Duration::from_millis(limit));
    Run { race, start: now, now }
}

/// The address of a short name: `a` to `z` are IPv4, `A` to `Z` IPv6.
fn at(name: &str) -> SocketAddr {
    let byte = name.as_bytes()[0];
    let text = if byte.is_ascii_uppercase() { format!("[::{byte:x}]:1") } else { format!("10.0.0.{byte}:1") };
    text.parse().expect("an address")
}

impl Run {
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    #[track_caller]
    fn begins(&mut self, name: &str, socket: usize) -> &mut Self {
        assert_eq!(self.race.poll(self.now), Step::Begin { socket, to: at(name) });
        self
    }

    #[track_caller]
    fn waits_until(&mut self, ms: u64) -> &mut Self {
        assert_eq!(self.race.poll(self.now), Step::Wait(self.start + Duration::from_millis(ms)));
        self
    }

    #[track_caller]
    fn withdraws(&mut self, socket: usize) -> &mut Self {
        assert_eq!(self.race.poll(self.now), Step::Withdraw { socket });
        self.race.is_free(socket);
        self
    }

    fn fails(&mut self, socket: usize, error: Errno) -> &mut Self {
        self.race.failed(socket, error, self.now);
        self.race.is_free(socket);
        self
    }

    #[track_caller]
    fn is_over(&mut self, code: Code) {
        match self.race.poll(self.now) {
            Step::Over(lost) => assert_eq!(lost.failure("x:1").code, code, "{lost:?}"),
            other => panic!("{other:?}"),
        }
    }
}

fn names(addresses: &[&str], families: &[Family]) -> Vec<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| at(text)).collect();
    order(&addresses, families).into()
}

#[test]
fn families_alternate_and_the_newer_one_is_first() {
    let both = [FOUR, SIX];
    assert_eq!(names(&["a", "b", "c", "A", "B"], &both), ["A", "a", "B", "b", "c"].map(at));
    assert_eq!(names(&["a", "A", "a", "A"], &both), ["A", "a"].map(at), "each once");
    assert_eq!(names(&["A", "a", "B"], &[FOUR]), ["a"].map(at), "a family without a socket is not tried");
    assert_eq!(names(&[], &both), [] as [SocketAddr; 0]);
}

#[test]
fn a_name_of_very_many_addresses_is_cut() {
    let many: Vec<SocketAddr> = (1..2000_u16).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
    assert_eq!(order(&many, &[FOUR]).len(), MAX_ADDRESSES);
}

#[test]
fn the_second_family_gets_its_chance_after_a_quarter_of_a_second() {
    let mut run = run(&["A", "a"], &[SIX, FOUR], 10_000);
    run.begins("A", 0).waits_until(250).at(249).waits_until(250);
    run.at(250).begins("a", 1).waits_until(10_000);
}

#[test]
fn a_failure_begins_the_next_attempt_at_once() {
    let mut run = run(&["A", "a"], &[SIX, FOUR], 10_000);
    run.begins("A", 0).at(3).fails(0, Errno::CONNREFUSED).begins("a", 1).waits_until(10_000);
    run.at(5).fails(1, Errno::CONNREFUSED).is_over(Code::ConnectionRefused);
}

#[test]
fn one_socket_tries_one_address_at_a_time() {
    let mut run = run(&["a", "b", "c"], &[FOUR], 10_000);
    run.begins("a", 0).at(250).waits_until(2000).at(1999).waits_until(2000);
    run.at(2000).withdraws(0).begins("b", 0).waits_until(2250);
    run.at(2100).fails(0, Errno::HOSTUNREACH).begins("c", 0).waits_until(10_000);
    run.at(2200).fails(0, Errno::HOSTUNREACH).is_over(Code::ConnectTimeout);
}

#[test]
fn an_address_whose_family_is_busy_does_not_hold_up_the_other_family() {
    let mut run = run(&["A", "B", "C", "a", "b"], &[SIX, FOUR], 60_000);
    run.begins("A", 0).at(250).begins("a", 1).at(500).waits_until(2000);
    // The IPv6 socket is stuck: IPv4 goes on by itself.
    run.at(600).fails(1, Errno::CONNREFUSED).begins("b", 1);
    run.at(700).fails(1, Errno::CONNREFUSED).waits_until(2000);
    run.at(2000)
        .withdraws(0)
        .begins("B", 0)
        .at(4000)
        .withdraws(0)
        .begins("C", 0)
        .at(30_000)
        .waits_until(60_000);
}

#[test]
fn more_sockets_of_a_family_let_its_addresses_race() {
    let mut run = run(&["a", "b", "c"], &[FOUR, FOUR], 10_000);
    run.begins("a", 0).at(250).begins("b", 1).at(500).waits_until(2000);
    run.at(2000).withdraws(0).begins("c", 0).at(9000).waits_until(10_000);
}

#[test]
fn the_last_address_of_a_family_keeps_its_socket_to_the_end() {
    let mut run = run(&["a"], &[FOUR, FOUR], 5000);
    run.begins("a", 0).at(4999).waits_until(5000).at(5000).is_over(Code::ConnectTimeout);
}

#[test]
fn the_deadline_ends_it_whatever_waits() {
    let mut early = run(&["a", "b"], &[FOUR], 100);
    early.begins("a", 0).waits_until(100).at(100).is_over(Code::ConnectTimeout);
    run(&["a"], &[FOUR], 0).is_over(Code::ConnectTimeout);
}

#[test]
fn a_socket_that_is_not_put_back_yet_is_not_used() {
    let mut run = run(&["a", "b"], &[FOUR], 10_000);
    run.begins("a", 0);
    run.race.failed(0, Errno::CONNREFUSED, run.now);
    run.waits_until(10_000);
    run.race.is_free(0);
    run.begins("b", 0);
}
