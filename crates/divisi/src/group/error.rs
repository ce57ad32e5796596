//! What went wrong in a group: all of it.

use std::error::Error;
use std::fmt;

use divisi_task::{CancelReason, JoinError};

/// The failures of a [`task_group`](crate::task_group), in the order in which they happened; that of the body comes last.
///
/// It is a tree: a group inside a group is one failure of the outer one. As Python's `ExceptionGroup`. Printing, splitting, mapping, unnesting and dropping it
/// recurse, once a level: a tree of thousands of levels needs a thread with a large stack.
///
/// ```
/// use divisi::group::{Failure, GroupError};
///
/// let inner = GroupError::from_failures([Failure::Error("disk full"), Failure::Error("no route")]);
/// let error = GroupError::from_failures([Failure::Error("timeout"), Failure::Group(inner)]);
/// assert_eq!(error.to_string(), "\
/// 2 failures in a task group:
///   1: timeout
///   2: 2 failures in a task group:
///        1: disk full
///        2: no route");
/// assert_eq!(error.errors().collect::<Vec<_>>(), [&"timeout", &"disk full", &"no route"]);
///
/// let (timeouts, rest) = error.split(|error| *error == "timeout");
/// assert_eq!(timeouts.unwrap().errors().count(), 1);
/// assert_eq!(rest.unwrap().flatten().failures().len(), 2);
/// ```
#[derive(Debug)]
pub struct GroupError<E> {
    failures: Vec<Failure<E>>,
    cause: Option<CancelReason>,
}

/// One failure in a group.
#[derive(Debug)]
pub enum Failure<E> {
    /// A task, or the body, returned an error.
    Error(E),
    /// A task panicked.
    Panic(JoinError),
    /// A group in this group failed.
    Group(GroupError<E>),
}

impl<E> GroupError<E> {
    /// An error of these failures.
    pub fn from_failures(failures: impl IntoIterator<Item = Failure<E>>) -> GroupError<E> {
        GroupError {
            failures: failures.into_iter().collect(),
            cause: None,
        }
    }

    pub(super) fn new(failures: Vec<Failure<E>>, cause: Option<CancelReason>) -> GroupError<E> {
        GroupError { failures, cause }
    }

    /// The failures of this level, in the order in which they happened.
    pub fn failures(&self) -> &[Failure<E>] {
        &self.failures
    }

    /// As [`failures`](Self::failures), by value.
    pub fn into_failures(self) -> Vec<Failure<E>> {
        self.failures
    }

    /// Why the group was cancelled, if it was: by [`Group::cancel`](super::Group::cancel), or because something in it failed.
    pub fn cause(&self) -> Option<&CancelReason> {
        self.cause.as_ref()
    }

    /// Whether nothing failed: the group was cancelled before its body had a value.
    pub fn is_cancelled(&self) -> bool {
        self.failures.is_empty()
    }

    /// All errors, those of inner groups included, in the order of the tree.
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.leaves().filter_map(|leaf| match leaf {
            Failure::Error(error) => Some(error),
            _ => None,
        })
    }

    /// All panics, those of inner groups included.
    pub fn panics(&self) -> impl Iterator<Item = &JoinError> {
        self.leaves().filter_map(|leaf| match leaf {
            Failure::Panic(panic) => Some(panic),
            _ => None,
        })
    }

    /// The error that happened first.
    pub fn first(&self) -> Option<&E> {
        self.errors().next()
    }

    fn leaves(&self) -> impl Iterator<Item = &Failure<E>> {
        let mut open = vec![self.failures.iter()];
        std::iter::from_fn(move || {
            loop {
                match open.last_mut()?.next() {
                    None => drop(open.pop()),
                    Some(Failure::Group(inner)) => open.push(inner.failures.iter()),
                    Some(leaf) => return Some(leaf),
                }
            }
        })
    }

    /// Parts the tree in two: the errors for which `takes` says yes, and everything else, panics included. Both keep the nesting; `None` for
    /// a part that is empty. As `ExceptionGroup.split`, which `except*` is made of.
    pub fn split(
        self,
        mut takes: impl FnMut(&E) -> bool,
    ) -> (Option<GroupError<E>>, Option<GroupError<E>>) {
        self.split_by(&mut takes)
    }

    fn split_by(
        self,
        takes: &mut dyn FnMut(&E) -> bool,
    ) -> (Option<GroupError<E>>, Option<GroupError<E>>) {
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        let was_empty = self.failures.is_empty();
        for failure in self.failures {
            match failure {
                Failure::Error(error) if takes(&error) => taken.push(Failure::Error(error)),
                Failure::Group(inner) => {
                    let (inner_taken, inner_rest) = inner.split_by(takes);
                    taken.extend(inner_taken.map(Failure::Group));
                    rest.extend(inner_rest.map(Failure::Group));
                }
                other => rest.push(other),
            }
        }
        let part = |failures: Vec<_>, keep: bool| {
            (keep || !failures.is_empty()).then(|| GroupError {
                failures,
                cause: self.cause.clone(),
            })
        };
        // A group that was only cancelled is not lost.
        (part(taken, false), part(rest, was_empty))
    }

    /// The same failures without nesting.
    #[must_use]
    pub fn flatten(self) -> GroupError<E> {
        let mut flat = Vec::new();
        let mut open = vec![self.failures.into_iter()];
        while let Some(level) = open.last_mut() {
            match level.next() {
                None => drop(open.pop()),
                Some(Failure::Group(inner)) => open.push(inner.failures.into_iter()),
                Some(leaf) => flat.push(leaf),
            }
        }
        GroupError {
            failures: flat,
            cause: self.cause,
        }
    }

    /// The same tree with other errors.
    pub fn map<F>(self, mut f: impl FnMut(E) -> F) -> GroupError<F> {
        self.map_by(&mut f)
    }

    fn map_by<F>(self, f: &mut dyn FnMut(E) -> F) -> GroupError<F> {
        let failures = self.failures.into_iter().map(|failure| match failure {
            Failure::Error(error) => Failure::Error(f(error)),
            Failure::Panic(panic) => Failure::Panic(panic),
            Failure::Group(inner) => Failure::Group(inner.map_by(f)),
        });
        GroupError {
            failures: failures.collect(),
            cause: self.cause,
        }
    }
}

impl<E> GroupError<GroupError<E>> {
    /// One tree of errors, for a group whose errors are those of groups: an error that is a group becomes a [`Failure::Group`].
    #[must_use]
    pub fn unnest(self) -> GroupError<E> {
        let failures = self.failures.into_iter().map(|failure| match failure {
            Failure::Error(inner) => Failure::Group(inner),
            Failure::Panic(panic) => Failure::Panic(panic),
            Failure::Group(inner) => Failure::Group(inner.unnest()),
        });
        GroupError {
            failures: failures.collect(),
            cause: self.cause,
        }
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.failures.len(), &self.cause) {
            (0, Some(cause)) => return write!(f, "the task group was cancelled: {cause}"),
            (0, None) => return f.write_str("the task group was cancelled"),
            (1, _) => f.write_str("1 failure in a task group:")?,
            (n, _) => write!(f, "{n} failures in a task group:")?,
        }
        for (number, failure) in (1..).zip(&self.failures) {
            let text = failure.to_string().replace('\n', "\n     ");
            write!(f, "\n  {number}: {text}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Panic(panic) => panic.fmt(f),
            Failure::Group(inner) => inner.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for GroupError<E> {}
