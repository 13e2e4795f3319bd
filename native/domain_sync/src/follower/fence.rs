//! Which ping is answered by which check (I12): one that began after everything that was requested
//! before the ping.

/// The pings that wait.
pub(super) struct Fence<C> {
    /// Those that the check in progress answers.
    this: Vec<C>,
    /// Those that a later check answers.
    next: Vec<C>,
}

impl<C> Fence<C> {
    pub fn new() -> Self {
        Fence { this: Vec::new(), next: Vec::new() }
    }

    /// Nothing was requested since the check in progress began.
    pub fn wait_for_this_check(&mut self, caller: C) {
        self.this.push(caller);
    }

    /// Something was, or there is no check in progress.
    pub fn wait_for_next_check(&mut self, caller: C) {
        self.next.push(caller);
    }

    /// It answers all that wait: those of a check that did not end well, too.
    pub fn check_begins(&mut self) {
        self.this.append(&mut self.next);
    }

    /// These are to be answered.
    pub fn check_ended_well(&mut self) -> Vec<C> {
        std::mem::take(&mut self.this)
    }
}
