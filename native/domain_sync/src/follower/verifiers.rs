//! Who waits for a verification, and how far it has come.

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// An audit has to begin: one that ran before does not count.
    Wanted,
    /// The audit runs.
    Running,
    /// It suspects domains, and a check has to judge them.
    Suspicious,
    /// That check runs.
    Judged,
}

/// The callers who wait.
pub(super) struct Verifiers<C>(Vec<(C, Stage)>);

impl<C> Verifiers<C> {
    pub fn new() -> Self {
        Verifiers(Vec::new())
    }

    pub fn add(&mut self, caller: C) {
        self.0.push((caller, Stage::Wanted));
    }

    pub fn has(&self, stage: Stage) -> bool {
        self.0.iter().any(|(_, it)| *it == stage)
    }

    /// Those of one stage come to another.
    pub fn advance(&mut self, from: Stage, to: Stage) {
        self.0.iter_mut().filter(|(_, it)| *it == from).for_each(|(_, it)| *it = to);
    }

    /// Takes out those of a stage, or all.
    pub fn take(&mut self, stage: Option<Stage>) -> Vec<C> {
        let taken = self.0.extract_if(.., |(_, it)| stage.is_none_or(|stage| stage == *it));
        taken.map(|(caller, _)| caller).collect()
    }
}
