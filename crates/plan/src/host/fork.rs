//! How long a host keeps the instant of a fork: until each of its children runs, or will not begin from it any more.

use super::RunState;
use std::time::Duration;

/// How long a host may take to hear of the children whose fork it has kept.
pub const UNHEARD: Duration = Duration::from_mins(10);

/// What a host knows of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState<'a> {
    /// No wish speaks of it.
    Unheard,
    Desired(&'a RunState),
}

/// Whether nobody will begin from a fork that was kept so long ago.
pub fn is_spent<'a>(children: impl IntoIterator<Item = ChildState<'a>>, age: Duration) -> bool {
    children.into_iter().all(|child| match child {
        ChildState::Unheard => age > UNHEARD,
        ChildState::Desired(RunState::New | RunState::Starting { .. }) => false,
        ChildState::Desired(
            RunState::Started { .. } | RunState::Ended { .. } | RunState::Unstartable { .. },
        ) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::host::StopCause;

    #[test]
    fn a_fork_is_kept_until_its_last_child_runs() {
        let (new, over) = (RunState::New, RunState::Ended { run: 1, cause: StopCause::Requested });
        let (young, old) = (Duration::from_secs(1), UNHEARD * 2);
        let known = |a, b| [ChildState::Desired(a), ChildState::Desired(b)];
        assert!(!is_spent(known(&new, &over), old));
        assert!(is_spent(known(&over, &over), young));
        let unheard = [ChildState::Desired(&over), ChildState::Unheard];
        assert!(!is_spent(unheard, young));
        assert!(is_spent(unheard, old));
    }
}
