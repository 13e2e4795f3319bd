//! The follower: when it checks, retries, audits and reloads, and what answers whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use domain_sync::check::Reason;
use domain_sync::follower::{
    AUDIT_TURN, Answer, Applied, CHECK_INTERVAL, CheckEnd, Command, Count, Event, FIRST_RETRY,
    Failure, Follower, Input, Timer,
};
use std::time::Duration;

const AUDIT_INTERVAL: Duration = Duration::from_secs(300);
const MAX_RETRY: Duration = Duration::from_secs(20);

/// A follower, and what it has said.
struct Node {
    follower: Follower<u32>,
    said: Vec<Command<u32>>,
}

impl Node {
    /// Its first check runs.
    fn starting(connections: u32) -> Self {
        let (follower, said) = Follower::start(AUDIT_INTERVAL, 7);
        let mut node = Node { follower, said };
        assert!(node.says(&Command::StartCheck));
        node.input(Input::DatabaseOpened { max_retry: MAX_RETRY, connections });
        node
    }

    /// Its first checks have ended.
    fn idle(connections: u32) -> Self {
        let mut node = Node::starting(connections);
        node.end(CheckEnd::Loaded);
        node.end(CheckEnd::Current);
        node.said.clear();
        node
    }

    /// Its last check has failed.
    fn failing() -> Self {
        let mut node = Node::idle(2);
        node.input(Input::CheckRequested);
        node.end(failed());
        node.said.clear();
        node
    }

    fn input(&mut self, input: Input<u32>) {
        let commands = self.follower.handle(input);
        self.said.extend(commands);
    }

    fn end(&mut self, end: CheckEnd) {
        self.input(Input::CheckEnded(end));
    }

    /// Has it said this since the last question?
    fn says(&mut self, command: &Command<u32>) -> bool {
        std::mem::take(&mut self.said).contains(command)
    }

    /// Whom it has answered since the last question.
    fn answers(&mut self) -> Vec<(u32, Answer)> {
        let answer = |command| match command {
            Command::Answer(caller, answer) => Some((caller, answer)),
            _ => None,
        };
        std::mem::take(&mut self.said).into_iter().filter_map(answer).collect()
    }

    /// When it wants to check again, if it has said so since the last question.
    fn check_after(&mut self) -> Option<Duration> {
        let after = |command: &Command<u32>| match command {
            Command::WakeAfter(Timer::Check, after) => Some(*after),
            _ => None,
        };
        std::mem::take(&mut self.said).iter().filter_map(after).next_back()
    }
}

fn failure() -> Failure {
    Failure::new("database_unavailable", "the connection is refused")
}

fn failed() -> CheckEnd {
    CheckEnd::Failed(failure())
}

fn pong(caller: u32) -> (u32, Answer) {
    (caller, Answer::Pong)
}

#[test]
fn it_checks_at_once_again_after_the_load_and_then_every_30_s() {
    let mut node = Node::starting(2);
    node.end(CheckEnd::Loaded);
    assert!(node.says(&Command::StartCheck));
    node.end(CheckEnd::Current);
    assert_eq!(node.check_after(), Some(CHECK_INTERVAL));
    node.input(Input::TimerFired(Timer::Check));
    assert!(node.says(&Command::StartCheck));
}

#[test]
fn requests_during_a_check_collapse_into_one_after_it() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    assert!(node.says(&Command::StartCheck));
    (0..100).for_each(|_| node.input(Input::CheckRequested));
    assert_eq!(node.said, []);
    node.end(CheckEnd::Current);
    assert!(node.says(&Command::StartCheck));
    node.end(CheckEnd::Current);
    assert_eq!(node.check_after(), Some(CHECK_INTERVAL));
}

#[test]
fn a_check_is_over_when_its_batches_are_applied_one_after_the_other() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.said.clear();
    node.input(Input::BatchReady);
    node.input(Input::BatchReady);
    node.input(Input::Ping(1));
    node.end(CheckEnd::Current);
    assert_eq!(node.said, [Command::ApplyBatch]);
    node.input(Input::BatchApplied(Applied::Done));
    assert_eq!(node.said, [Command::ApplyBatch, Command::ApplyBatch]);
    node.input(Input::BatchApplied(Applied::Done));
    assert_eq!(node.answers(), [pong(1)]);
}

#[test]
fn i12_a_ping_is_answered_at_once_when_nothing_was_requested() {
    let mut node = Node::idle(2);
    node.input(Input::Ping(1));
    assert_eq!(node.answers(), [pong(1)]);
}

#[test]
fn i12_a_ping_waits_for_the_check_after_the_requests_before_it() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::Ping(1));
    node.input(Input::CheckRequested);
    node.input(Input::Ping(2));
    assert_eq!(node.answers(), []);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(1)]);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(2)]);
}

#[test]
fn i12_a_ping_waits_for_a_check_that_ends_well() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::Ping(1));
    node.end(failed());
    node.input(Input::Ping(2));
    assert_eq!(node.answers(), []);
    node.input(Input::TimerFired(Timer::Check));
    node.end(failed());
    assert_eq!(node.answers(), []);
    node.input(Input::TimerFired(Timer::Check));
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(1), pong(2)]);
}

#[test]
fn i12_a_ping_during_a_load_waits_for_the_check_behind_it() {
    let mut node = Node::starting(2);
    node.input(Input::Ping(1));
    node.end(CheckEnd::Loaded);
    assert_eq!(node.answers(), []);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(1)]);
}

#[test]
fn i12_a_check_of_a_table_that_is_gone_answers_nobody() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::Ping(1));
    node.end(CheckEnd::TableReplaced);
    assert_eq!(node.said.iter().filter(|said| **said == Command::StartCheck).count(), 2);
    assert_eq!(node.answers(), []);
    node.end(CheckEnd::Loaded);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(1)]);
}

#[test]
fn i13_requests_do_not_hasten_the_next_attempt() {
    let mut node = Node::failing();
    (0..100).for_each(|_| node.input(Input::CheckRequested));
    assert_eq!(node.said, []);
    node.input(Input::TimerFired(Timer::Check));
    assert!(node.says(&Command::StartCheck));
    // They are all before this attempt.
    node.end(CheckEnd::Current);
    assert_eq!(node.check_after(), Some(CHECK_INTERVAL));
}

#[test]
fn i13_a_request_during_an_attempt_is_not_lost() {
    let mut node = Node::failing();
    node.input(Input::TimerFired(Timer::Check));
    node.input(Input::CheckRequested);
    node.said.clear();
    node.end(CheckEnd::Current);
    assert!(node.says(&Command::StartCheck));
}

#[test]
fn i13_the_pauses_double_up_to_the_longest_less_up_to_a_half() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    for attempt in 0..12 {
        node.said.clear();
        node.end(failed());
        let longest = (FIRST_RETRY * (1 << attempt)).min(MAX_RETRY);
        let pause = node.check_after().unwrap();
        assert!(pause > longest / 2 && pause <= longest, "{attempt}: {pause:?}");
        node.input(Input::TimerFired(Timer::Check));
    }
    node.end(CheckEnd::Current);
    node.input(Input::CheckRequested);
    node.said.clear();
    node.end(failed());
    assert!(node.check_after().unwrap() <= FIRST_RETRY, "it begins anew");
}

#[test]
fn i13_verify_does_not_ask_a_database_that_fails() {
    let mut node = Node::failing();
    node.input(Input::Verify(1));
    node.input(Input::TimerFired(Timer::Audit));
    assert_eq!(node.answers(), [(1, Answer::Verified(Err(failure())))]);
    node.input(Input::TimerFired(Timer::Check));
    node.end(CheckEnd::Current);
    assert!(node.says(&Command::StartAudit), "the audit that was due is made up for");
}

#[test]
fn failures_are_counted_and_logged_with_the_pause() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.end(failed());
    let logged = |command: &&Command<u32>| matches!(command, Command::Log(Event::CheckFailed(..)));
    assert_eq!(node.said.iter().filter(logged).count(), 1);
    assert!(node.says(&Command::Count(Count::FailedCheck(failure()))));
}

#[test]
fn without_a_table_a_request_starts_at_once() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::BatchReady);
    node.input(Input::BatchApplied(Applied::NoTable));
    assert!(node.says(&Command::EndCheck));
    node.input(Input::CheckRequested);
    assert!(node.says(&Command::StartCheck));
}

#[test]
fn a_batch_for_a_table_that_is_gone_starts_a_check_of_the_new_one() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::BatchReady);
    node.said.clear();
    node.input(Input::BatchApplied(Applied::TableReplaced));
    assert_eq!(node.said, [Command::EndCheck, Command::StartCheck]);
}

#[test]
fn a_reload_without_effect_answers_and_is_called_again_at_the_next_check() {
    let mut node = Node::idle(2);
    for _ in 0..2 {
        node.input(Input::CheckRequested);
        node.input(Input::Ping(1));
        node.said.clear();
        node.end(CheckEnd::Reload(Reason::TooOld));
        assert!(node.said.contains(&Command::Log(Event::MustReload(Reason::TooOld))));
        assert!(node.says(&Command::Reload));
        node.input(Input::Ping(2));
        assert_eq!(node.said, []);
        node.input(Input::RestartWithoutEffect);
        assert_eq!(node.answers(), [pong(1), pong(2)]);
    }
}

#[test]
fn a_request_while_restart_is_called_is_not_lost() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.end(CheckEnd::Reload(Reason::WentBackwards));
    node.input(Input::CheckRequested);
    node.input(Input::Ping(1));
    node.said.clear();
    node.input(Input::RestartWithoutEffect);
    assert_eq!(node.said, [Command::StartCheck]);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(1)]);
}

#[test]
fn a_restart_is_counted_as_requested_unless_it_is_our_own() {
    let mut node = Node::idle(2);
    node.input(Input::RestartRequested);
    assert!(node.says(&Command::Count(Count::RequestedReload)));
    node.input(Input::CheckRequested);
    node.end(CheckEnd::Reload(Reason::TooOld));
    node.said.clear();
    node.input(Input::RestartRequested);
    assert_eq!(node.said, []);
}

#[test]
fn the_first_load_has_ended_when_it_is_applied_or_its_first_attempt_failed() {
    let first_load = |caller| (caller, Answer::FirstLoadEnded);
    let mut node = Node::starting(2);
    node.input(Input::AwaitFirstLoad(1));
    node.input(Input::BatchReady);
    node.end(CheckEnd::Loaded);
    assert_eq!(node.answers(), []);
    node.input(Input::BatchApplied(Applied::Done));
    assert_eq!(node.answers(), [first_load(1)]);
    node.input(Input::AwaitFirstLoad(2));
    assert_eq!(node.answers(), [first_load(2)]);

    let mut node = Node::starting(2);
    node.input(Input::AwaitFirstLoad(1));
    node.end(failed());
    assert_eq!(node.answers(), [first_load(1)]);
}

#[test]
fn the_missing_index_is_searched_after_the_first_load_only() {
    let mut node = Node::starting(2);
    node.end(CheckEnd::Loaded);
    assert!(node.says(&Command::FindMissingIndex));
    node.end(CheckEnd::TableReplaced);
    node.end(CheckEnd::Loaded);
    assert!(!node.says(&Command::FindMissingIndex));
}

#[test]
fn an_audit_comes_up_to_a_tenth_before_its_interval_is_over() {
    let mut node = Node::starting(2);
    node.end(CheckEnd::Loaded);
    node.end(CheckEnd::Current);
    node.input(Input::TimerFired(Timer::Audit));
    assert!(node.says(&Command::StartAudit));
    node.input(Input::AuditEnded(Ok(false)));
    let [Command::WakeAfter(Timer::Audit, after)] = node.said[..] else {
        panic!("{:?}", node.said)
    };
    assert!(after > AUDIT_INTERVAL * 9 / 10 && after <= AUDIT_INTERVAL, "{after:?}");
}

#[test]
fn verify_is_answered_by_an_audit_that_began_later() {
    let mut node = Node::idle(2);
    node.input(Input::Verify(1));
    assert!(node.says(&Command::StartAudit));
    node.input(Input::Verify(2));
    node.input(Input::AuditEnded(Ok(false)));
    assert!(node.said.contains(&Command::StartAudit));
    assert_eq!(node.answers(), [(1, Answer::Verified(Ok(())))]);
    node.input(Input::AuditEnded(Ok(false)));
    assert_eq!(node.answers(), [(2, Answer::Verified(Ok(())))]);
}

#[test]
fn what_an_audit_suspects_the_next_check_to_begin_judges() {
    let mut node = Node::idle(2);
    node.input(Input::Verify(1));
    node.input(Input::CheckRequested);
    node.input(Input::AuditEnded(Ok(true)));
    // This one began before.
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), []);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [(1, Answer::Verified(Ok(())))]);
}

#[test]
fn differences_are_answered_and_everything_is_loaded_again() {
    let mut node = Node::idle(2);
    node.input(Input::Verify(1));
    node.input(Input::AuditEnded(Ok(true)));
    node.said.clear();
    node.end(CheckEnd::Differs(Vec::new()));
    assert!(node.said.contains(&Command::Reload));
    assert_eq!(node.answers(), [(1, Answer::Differs(Vec::new()))]);
}

#[test]
fn with_one_connection_an_audit_waits_for_the_check() {
    let mut node = Node::idle(1);
    node.input(Input::CheckRequested);
    node.said.clear();
    node.input(Input::Verify(1));
    assert_eq!(node.said, []);
    node.input(Input::CheckRequested);
    // Even if another check is wanted: it would never come to its turn.
    node.end(CheckEnd::Current);
    assert!(node.said.contains(&Command::StartAudit));
    assert!(!node.says(&Command::StartCheck));
    node.input(Input::Ping(2));
    node.input(Input::AuditEnded(Ok(false)));
    assert!(node.said.contains(&Command::StartCheck));
    assert_eq!(node.answers(), [(1, Answer::Verified(Ok(())))]);
    node.end(CheckEnd::Current);
    assert_eq!(node.answers(), [pong(2)]);
}

#[test]
fn with_one_connection_a_check_waits_for_the_audit_but_not_for_long() {
    let mut node = Node::idle(1);
    node.input(Input::Verify(1));
    node.said.clear();
    node.input(Input::CheckRequested);
    assert_eq!(node.said, [Command::WakeAfter(Timer::Check, AUDIT_TURN)]);
    node.said.clear();
    node.input(Input::TimerFired(Timer::Check));
    assert!(node.said.contains(&Command::CancelAudit));
    assert!(node.said.contains(&Command::StartCheck));
    let answers = node.answers();
    let [(1, Answer::Verified(Err(failure)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(failure.reason, "busy");
}

#[test]
fn with_two_connections_an_audit_runs_beside_checks() {
    let mut node = Node::idle(2);
    node.input(Input::CheckRequested);
    node.input(Input::TimerFired(Timer::Audit));
    assert!(node.says(&Command::StartAudit));
}
