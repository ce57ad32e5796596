//! Resources that are opened while a body runs and closed after it.

use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ended::Ended;
use super::exit_stack::{ExitErrors, ExitStack, unwinding};
use super::orphan::{self, Owned};
use super::sealed::Outcome as _;
use super::{Exit, Failed, Success};

/// As [`exit_stack`](super::exit_stack), for a body that may fail, and that opens resources: what is [entered](TryExitStack::enter) is closed
/// after the body, and told how that ended.
///
/// ```
/// use divisi::cleanup::{Exit, Resource, try_exit_stack};
/// use std::io::Error;
///
/// struct Transaction(&'static str);
///
/// impl Resource for Transaction {
///     type Item = Transaction;
///     type Error = Error;
///     async fn open(self) -> Result<Transaction, Error> {
///         Ok(self)
///     }
///     async fn close(_open: Transaction, exit: Exit) -> Result<(), Error> {
///         assert_eq!(exit, Exit::Failed);
///         // Here it would be rolled back.
///         Ok(())
///     }
/// }
///
/// # divisi::run(async {
/// let result = try_exit_stack(async |stack| {
///     let mut open = Vec::new();
///     for name in ["here", "there"] {
///         open.push(stack.enter(Transaction(name).open().await?, Transaction::close));
///     }
///     assert_eq!(open[1].0, "there");
///     Err::<(), _>(Error::other("no such account"))
/// })
/// .await;
/// let of_the_body = result.expect("both were closed");
/// assert_eq!(of_the_body.unwrap_err().to_string(), "no such account");
/// # });
/// ```
///
/// # Errors
///
/// Those of the clean-ups, all of them, with the result of the body. If the body has none, they are reported. The inner result is that of the body.
///
/// # Panics
///
/// As [`exit_stack`](super::exit_stack).
///
/// # Cancel safety
///
/// As [`exit_stack`](super::exit_stack): what is left to be closed is closed at the root of the runtime, with [`Exit::Cancelled`] if the body had not ended.
#[track_caller]
pub fn try_exit_stack<B, F, T, E>(
    body: B,
) -> impl Future<Output = Result<Result<T, E>, ExitErrors<Result<T, E>>>>
where
    B: FnOnce(TryExitStack) -> F,
    F: Future<Output = Result<T, E>>,
{
    let exit_of = |ended: &Ended<Result<T, E>>| match ended.value() {
        Some(Err(_)) => Exit::Failed,
        _ => ended.exit(),
    };
    unwinding(
        |stack| body(TryExitStack(stack)),
        exit_of,
        Location::caller(),
    )
}

/// The clean-ups of a [`try_exit_stack`]. It has what an [`ExitStack`] has, too.
#[derive(Clone, Debug)]
pub struct TryExitStack(ExitStack);

impl TryExitStack {
    /// Takes something that is open and gives it back for use; after the body, `close` closes it. asyncio's `enter_async_context` and `push_async_exit`.
    ///
    /// `close` is a clean-up like those of [`defer`](ExitStack::defer), in one order with them. It gets what was opened, and how the body ended, with
    /// [`Exit::Failed`] for an error. For a [`Resource`](super::Resource) it is the trait's `close`:
    /// `stack.enter(resource.open().await?, Kind::close)`; in between nothing can cut the body off.
    ///
    /// What it gives is to be dropped with the body, as all is that the body just keeps. If it is still in use when its turn comes (the body
    /// returned it, or gave it to a task), the clean-up fails with an error that says so, and `close` runs at the root of the runtime when it is dropped.
    /// So it does if the exit stack has ended before.
    #[track_caller]
    pub fn enter<I, C, F>(&self, item: I, close: C) -> Entered<I>
    where
        I: Send + 'static,
        C: FnOnce(I, Exit) -> F + Send + 'static,
        F: Future<Output: Success> + Send + 'static,
    {
        let at = Location::caller();
        let place = Arc::new(Mutex::new(Place::InUse));
        let (of_cleanup, how) = (place.clone(), self.how_it_ended());
        let closing = move || -> Owned {
            let exit = how.get().copied().unwrap_or(Exit::Cancelled);
            let close =
                move |item| -> Owned { Box::pin(async move { close(item, exit).await.failure() }) };
            let mut place = of_cleanup.lock();
            match mem::replace(&mut *place, Place::InUse) {
                Place::Back(item) => {
                    drop(place);
                    close(item)
                }
                _ => {
                    *place = Place::Overdue(Box::new(close));
                    Box::pin(async move { Some(still_in_use(at)) })
                }
            }
        };
        self.push(Box::pin(async move { closing().await }), at);
        Entered {
            item: Some(item),
            place,
            at,
        }
    }
}

fn still_in_use(at: &'static Location<'static>) -> Failed {
    Failed::from(format!(
        "what was entered at {at} is still in use where its exit stack ends, and is closed when it is dropped: keep it in the body, and give nobody \
         more than a reference"
    ))
}

impl Deref for TryExitStack {
    type Target = ExitStack;

    fn deref(&self) -> &ExitStack {
        &self.0
    }
}

/// Something open, until it is dropped; see [`TryExitStack::enter`]. Dereferences to it.
pub struct Entered<I> {
    /// Until it is dropped.
    item: Option<I>,
    place: Arc<Mutex<Place<I>>>,
    at: &'static Location<'static>,
}

/// Where the item is, between its user and its clean-up.
enum Place<I> {
    /// With the user, and the clean-up has not come; or with the clean-up.
    InUse,
    /// The user is done.
    Back(I),
    /// With the user, and the clean-up has come and gone.
    Overdue(Box<dyn FnOnce(I) -> Owned + Send>),
}

const HERE: &str = "it is here until this is dropped";

impl<I> Deref for Entered<I> {
    type Target = I;

    fn deref(&self) -> &I {
        self.item.as_ref().expect(HERE)
    }
}

impl<I> DerefMut for Entered<I> {
    fn deref_mut(&mut self) -> &mut I {
        self.item.as_mut().expect(HERE)
    }
}

impl<I> Drop for Entered<I> {
    fn drop(&mut self) {
        let Some(item) = self.item.take() else { return };
        let mut place = self.place.lock();
        match mem::replace(&mut *place, Place::InUse) {
            Place::Overdue(close) => {
                drop(place);
                orphan::adopt(close(item), self.at);
            }
            _ => *place = Place::Back(item),
        }
    }
}

impl<I: fmt::Debug> fmt::Debug for Entered<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entered").field(&**self).finish()
    }
}
