//! Deliberate bugs in production's code, each of which the simulator must catch.
//!
//! A [`Mutant`] is a patch of one file. `src/bin/mutants.rs` applies it to a copy and runs seeds
//! there, so production's code never contains the bugs, and need not know of them.

use std::fmt;

const CHECK: &str = "native/domain_sync/src/check.rs";
const POSITION: &str = "native/domain_sync/src/position.rs";
const ROUTING: &str = "native/domain_sync/src/routing.rs";
const BATCH: &str = "native/domain_sync/src/batch.rs";
const PENDING: &str = "native/domain_sync/src/pending.rs";
const DRIVER: &str = "native/domain_sync/src/driver.rs";
const AUDIT: &str = "native/domain_sync/src/audit.rs";
const FOLLOWER: &str = "native/domain_sync/src/follower.rs";
const FENCE: &str = "native/domain_sync/src/follower/fence.rs";
const VERIFIERS: &str = "native/domain_sync/src/follower/verifiers.rs";
const SERVICE: &str = "native/domain_sync/src/service.rs";
const TABLE: &str = "native/domain_table/src/writer.rs";

/// A deliberate bug.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What is wrong.
    pub name: &'static str,
    /// The invariant of the design, or the rule of the contract, that it breaks.
    pub rule: &'static str,
    /// The file, from the root of the project.
    pub file: &'static str,
    /// What is replaced. It occurs once in the file.
    pub text: &'static str,
    /// What it becomes.
    pub replacement: &'static str,
}

/// The text of a mutant does not occur exactly once any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    name: &'static str,
    found: usize,
}

impl fmt::Display for Stale {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stale { name, found } = self;
        write!(formatter, "mutant \"{name}\" no longer applies: update it (found {found} times)")
    }
}

impl std::error::Error for Stale {}

impl Mutant {
    /// The source of the file, with the bug.
    pub fn apply(&self, source: &str) -> Result<String, Stale> {
        match source.matches(self.text).count() {
            1 => Ok(source.replace(self.text, self.replacement)),
            found => Err(Stale { name: self.name, found }),
        }
    }
}

/// All of them, by invariant.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a load does not remove what it did not bring",
        rule: "I1",
        file: DRIVER,
        text: "batch.with_sweep().with_position(position)",
        replacement: "batch.with_position(position)",
    },
    Mutant {
        name: "what a failed load brought counts as brought by the next",
        rule: "I1",
        file: BATCH,
        text: "if std::mem::take(&mut work.renew) {",
        replacement: "if std::mem::take(&mut work.renew) && self.forgotten == u64::MAX {",
    },
    Mutant {
        name: "a host type unknown here leaves the old one routing",
        rule: "I1",
        file: TABLE,
        text: "let removed = found.map(|entry| self.remove(domain.as_bytes(), entry));",
        replacement: "let removed = found.and_then(|_| None);",
    },
    Mutant {
        name: "of two rows the oldest counts",
        rule: "I1",
        file: AUDIT,
        text: "is_none_or(|other| other.id < row.id)",
        replacement: "is_none_or(|other| other.id > row.id)",
    },
    Mutant {
        name: "a position is trusted for ever",
        rule: "I1",
        file: CHECK,
        text: "if age >= max_age.max(MIN_TRUST) {",
        replacement: "if age >= max_age.max(Duration::MAX) {",
    },
    Mutant {
        name: "the database overrules static domains",
        rule: "I2",
        file: TABLE,
        text: "(Some(entry), _) if entry.is_static() => Put::Static(",
        replacement: "(Some(entry), _) if domain.is_empty() => Put::Static(",
    },
    Mutant {
        name: "missing ids are not noticed",
        rule: "I3",
        file: CHECK,
        text: "gaps.extend((last.saturating_add(1)..event.id).take(room));",
        replacement: "gaps.extend((last..last).take(room));",
    },
    Mutant {
        name: "missing ids are noticed, and never settled",
        rule: "I3",
        file: CHECK,
        text: "(false, _) => Next::Settle(gaps),",
        replacement: "(false, _) => Next::End,",
    },
    Mutant {
        name: "the position passes the gap before it is settled",
        rule: "I3",
        file: CHECK,
        text: "if gaps.is_empty() && event.id > covered.newest {",
        replacement: "if event.id > covered.newest {",
    },
    Mutant {
        name: "the position advances with the first slice of a batch",
        rule: "I3",
        file: BATCH,
        text: "        for _ in 0..limit {\n            if let Some(change) = work.changes.next() {",
        replacement: "        if let Some(position) = work.position.take() {
            self.routing.advance(position, self.forgotten);
        }
        for _ in 0..limit {\n            if let Some(change) = work.changes.next() {",
    },
    Mutant {
        name: "events that come while a load reads rows count as covered",
        rule: "I3",
        file: DRIVER,
        text: "let position = step.position.clone();
                if !out.send(|batch| batch.with_sweep()",
        replacement: "let mut position = step.position.clone();
                if let Some(covered) = &mut position.covered {
                    for event in store.events(covered.newest + 1, i64::MAX, PAGE).await? {
                        covered.extend(event);
                    }
                }
                if !out.send(|batch| batch.with_sweep()",
    },
    Mutant {
        name: "events below the first one seen are ignored",
        rule: "I3",
        file: CHECK,
        text: "if oldest < covered.floor => {",
        replacement: "if oldest < covered.floor && oldest == i64::MIN => {",
    },
    Mutant {
        name: "the floor falls below gaps",
        rule: "I3",
        file: CHECK,
        text: "        if gaps.is_empty() {\n            if let Some(covered) = &mut walk.covered {",
        replacement: "        if gaps.len() < 3 {\n            if let Some(covered) = &mut walk.covered {",
    },
    Mutant {
        name: "a full page is taken for the end of the log",
        rule: "I3",
        file: CHECK,
        text: "let done = covered.newest >= upto || !full;",
        replacement: "let done = covered.newest <= upto || !full;",
    },
    Mutant {
        name: "ids are settled from the first one on",
        rule: "I4",
        file: CHECK,
        text: "let mut last = covered.newest;",
        replacement: "let mut last = 0_i64;",
    },
    Mutant {
        name: "cleaned events are taken for a gap",
        rule: "I4",
        file: CHECK,
        text: "if oldest > covered.newest => {\n                walk.lost(Reason::TooOld)",
        replacement: "if oldest > covered.newest => {
                let ids = (covered.newest + 1..oldest).take(GAPS).collect();
                Step::SettleGaps(SettleGaps { ids, walk })",
    },
    Mutant {
        name: "events cleaned between two reads are taken for a gap",
        rule: "I4",
        file: CHECK,
        text: "Recognition::Gone => return walk.lost(Reason::TooOld),",
        replacement: "Recognition::Gone => (covered, events),",
    },
    Mutant {
        name: "a load removes first and reads then",
        rule: "I5",
        file: DRIVER,
        text: "out.send(Batch::with_renewal)",
        replacement: "out.send(|batch| batch.with_renewal().with_sweep())",
    },
    Mutant {
        name: "any number of batches may wait",
        rule: "I6",
        file: DRIVER,
        text: "let credit = self.credits.clone().acquire_owned().await.ok();",
        replacement: "let credit = None;",
    },
    Mutant {
        name: "another host type is notified as an addition only",
        rule: "I7",
        file: ROUTING,
        text: "Put::Replaced(other) => self.note(domain, Some(other), Some(host_type)),",
        replacement: "Put::Replaced(other) => {
                self.note(domain, Some(other).filter(|_| domain.is_empty()), Some(host_type));
            }",
    },
    Mutant {
        name: "another host type is notified in the wrong order",
        rule: "I7",
        file: ROUTING,
        text: "Put::Replaced(other) => self.note(domain, Some(other), Some(host_type)),",
        replacement: "Put::Replaced(other) => {
                self.note(domain, None, Some(host_type));
                self.note(domain, Some(other), None);
            }",
    },
    Mutant {
        name: "what the sweep of a load removes is not notified",
        rule: "I7",
        file: ROUTING,
        text: "source);
        self.note(domain, removed.as_ref(), None);",
        replacement: "source);
        drop(removed);",
    },
    Mutant {
        name: "who has been notified is notified again",
        rule: "I7",
        file: PENDING,
        text: "piece.drain(..left);",
        replacement: "piece.drain(..left.saturating_sub(1));",
    },
    Mutant {
        name: "a removal is left out like an addition",
        rule: "I7",
        file: PENDING,
        text: "packed.added.filter(|_| packed.removed.is_none());",
        replacement: "packed.added.or(packed.removed);",
    },
    Mutant {
        name: "others are notified of every addition",
        rule: "I7",
        file: PENDING,
        text: "take_while(|packed| is_told(packed)).count();",
        replacement: "count();",
    },
    Mutant {
        name: "a domain marked for deletion routes",
        rule: "I10",
        file: CHECK,
        text: "Some(Setting { host_type, status: Status::Enabled, .. }) => {",
        replacement: "Some(Setting { host_type, status: Status::Enabled | Status::Deleting, .. }) => {",
    },
    Mutant {
        name: "the remembered events are not compared",
        rule: "I11",
        file: POSITION,
        text: "if remembered.eq(&events[..known]) {",
        replacement: "if remembered.count() < usize::MAX {",
    },
    Mutant {
        name: "only the ids of the remembered events are compared",
        rule: "I11",
        file: POSITION,
        text: "if remembered.eq(&events[..known]) {",
        replacement: "if remembered.map(|event| event.id).eq(events[..known].iter().map(|event| event.id)) {",
    },
    Mutant {
        name: "a log that ends before the position is current",
        rule: "I11",
        file: CHECK,
        text: "if newest < covered.newest => {\n                walk.lost(Reason::WentBackwards)",
        replacement: "if newest < covered.newest => {\n                walk.end()",
    },
    Mutant {
        name: "a log that is empty now is current",
        rule: "I11",
        file: CHECK,
        text: "(Some(_), None) => walk.lost(Reason::WentBackwards),",
        replacement: "(Some(_), None) => walk.end(),",
    },
    Mutant {
        name: "what is covered below is not remembered",
        rule: "I11",
        file: POSITION,
        text: "let room = TAIL - self.tail.len().min(TAIL);",
        replacement: "let room = self.tail.len().min(0);",
    },
    Mutant {
        name: "a ping during a check is answered at once",
        rule: "I12",
        file: FOLLOWER,
        text: "Phase::Idle => self.answer(caller, Answer::Pong),",
        replacement: "Phase::Idle | Phase::Checking(_) => self.answer(caller, Answer::Pong),",
    },
    Mutant {
        name: "a ping waits for the check that runs, whatever was requested since",
        rule: "I12",
        file: FOLLOWER,
        text: "Phase::Checking(_) | Phase::Reloading if !self.is_check_wanted => {",
        replacement: "Phase::Checking(_) | Phase::Reloading => {",
    },
    Mutant {
        name: "a check that failed answers pings",
        rule: "I12",
        file: FOLLOWER,
        text: "self.failures = self.failures.saturating_add(1);",
        replacement: "self.failures = self.failures.saturating_add(1);\n        self.pong();",
    },
    Mutant {
        name: "a load answers pings",
        rule: "I12",
        file: FOLLOWER,
        text: "self.commands.push(Command::Log(Event::Loaded));",
        replacement: "self.pong();",
    },
    Mutant {
        name: "a check of a table that is gone answers pings",
        rule: "I12",
        file: SERVICE,
        text: "(Ok(_), Some(current)) if !Arc::ptr_eq(checked, &current) => CheckEnd::TableReplaced,",
        replacement: "(Ok(_), Some(current)) if !Arc::ptr_eq(checked, &current) => CheckEnd::Current,",
    },
    Mutant {
        name: "who waits for a check that fails is forgotten",
        rule: "I12",
        file: FENCE,
        text: "self.this.append(&mut self.next);",
        replacement: "self.this = std::mem::take(&mut self.next);",
    },
    Mutant {
        name: "a request during a check is forgotten",
        rule: "I12",
        file: FOLLOWER,
        text: "Phase::Checking(_) | Phase::Reloading => self.is_check_wanted = true,",
        replacement: "Phase::Checking(_) | Phase::Reloading => {}",
    },
    Mutant {
        name: "a check is over before its batches are applied",
        rule: "I12",
        file: FOLLOWER,
        text: "        if check.is_applying {\n            return;",
        replacement: "        if check.is_applying && check.end.is_none() {\n            return;",
    },
    Mutant {
        name: "a verification is answered by an audit that is over",
        rule: "I12",
        file: VERIFIERS,
        text: "self.0.push((caller, Stage::Wanted));",
        replacement: "self.0.push((caller, Stage::Running));",
    },
    Mutant {
        name: "what an audit suspects is never judged",
        rule: "I12",
        file: FOLLOWER,
        text: "self.verifiers.advance(Stage::Suspicious, Stage::Judged);",
        replacement: "self.verifiers.advance(Stage::Judged, Stage::Judged);",
    },
    Mutant {
        name: "who waits for the first load waits for ever",
        rule: "I12",
        file: FOLLOWER,
        text: "self.first_load.take().into_iter().flatten()",
        replacement: "self.first_load.take().into_iter().flatten().skip(1)",
    },
    Mutant {
        name: "a request starts an attempt while the database fails",
        rule: "I13",
        file: FOLLOWER,
        text: "            Phase::Idle | Phase::WithoutTable(_) => self.start_check(),\n            Phase::Checking(_)",
        replacement: "            Phase::Idle | Phase::WithoutTable(_) | Phase::BackingOff(_) => self.start_check(),\n            Phase::Checking(_)",
    },
    Mutant {
        name: "the pauses stay short",
        rule: "I13",
        file: FOLLOWER,
        text: "FIRST_RETRY.saturating_mul(1 << self.failures.min(16))",
        replacement: "FIRST_RETRY.saturating_mul(1 << self.failures.min(1))",
    },
    Mutant {
        name: "the pauses grow for ever",
        rule: "I13",
        file: FOLLOWER,
        text: "let longest = doubled.min(self.max_retry);",
        replacement: "let longest = doubled.max(FIRST_RETRY);",
    },
    Mutant {
        name: "after a failure nothing happens",
        rule: "I13",
        file: FOLLOWER,
        text: "            Command::WakeAfter(Timer::Check, pause),\n",
        replacement: "",
    },
    Mutant {
        name: "after a check nothing happens",
        rule: "I13",
        file: FOLLOWER,
        text: "self.commands.push(Command::WakeAfter(Timer::Check, CHECK_INTERVAL));",
        replacement: "self.commands.push(Command::WakeAfter(Timer::Audit, CHECK_INTERVAL));",
    },
    Mutant {
        name: "audits begin while the database fails",
        rule: "I13",
        file: FOLLOWER,
        text: "            Phase::Idle => true,\n            Phase::Checking(_) =>",
        replacement: "            Phase::Idle | Phase::BackingOff(_) => true,\n            Phase::Checking(_) =>",
    },
    Mutant {
        name: "an audit begins beside a check on the only connection",
        rule: "one connection",
        file: FOLLOWER,
        text: "Phase::Checking(_) => self.connections > 1 && self.failures == 0,",
        replacement: "Phase::Checking(_) => self.failures == 0,",
    },
    Mutant {
        name: "a check begins beside an audit on the only connection",
        rule: "one connection",
        file: FOLLOWER,
        text: "if self.is_auditing && self.connections == 1 {",
        replacement: "if self.is_auditing && self.connections == 0 {",
    },
    Mutant {
        name: "a check waits for an audit as long as it takes",
        rule: "I13",
        file: FOLLOWER,
        text: "Phase::AwaitingConnection => self.give_audit_up(),",
        replacement: "Phase::AwaitingConnection => {}",
    },
    Mutant {
        name: "an audit that was given up holds checks up",
        rule: "I13",
        file: FOLLOWER,
        text: "        if matches!(self.phase, Phase::AwaitingConnection) {\n            self.begin_check();",
        replacement: "        if matches!(self.phase, Phase::AwaitingConnection) && self.failures > 0 {\n            self.begin_check();",
    },
    Mutant {
        name: "a reload without effect leaves the node idle for ever",
        rule: "I13",
        file: FOLLOWER,
        text: "            self.pong();\n            self.rest();",
        replacement: "            self.pong();\n            self.phase = Phase::Idle;",
    },
    Mutant {
        name: "a late batch brings back a forgotten position",
        rule: "restart",
        file: ROUTING,
        text: "if slot.forgotten == forgotten {",
        replacement: "if slot.forgotten >= forgotten {",
    },
    Mutant {
        name: "an audit judges without the events that come",
        rule: "audits",
        file: DRIVER,
        text: "Ok(judge(routing.table(), suspects, settings, &pending))",
        replacement: "Ok(judge(routing.table(), suspects, settings, &[]))",
    },
    Mutant {
        name: "an audit reads rows after the events that come",
        rule: "audits",
        file: DRIVER,
        text: "    Ok(judge(routing.table(), suspects, settings, &pending))",
        replacement: "    drop(settings);
    let settings = store.settings(&suspects).await?;
    Ok(judge(routing.table(), suspects, settings, &pending))",
    },
    Mutant {
        name: "an audit finds nothing in the rows",
        rule: "audits",
        file: AUDIT,
        text: "if differs(self.table, &domain, Some(host_type)) && self.suspects.len() < SUSPECTS {",
        replacement: "if differs(self.table, &domain, Some(host_type)) && self.found > SUSPECTS {",
    },
    Mutant {
        name: "an audit does not look for domains without a row",
        rule: "audits",
        file: AUDIT,
        text: "let more = self.table.followed_len() > self.found;",
        replacement: "let more = self.table.followed_len() < self.found;",
    },
];
