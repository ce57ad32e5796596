//! Resources that are opened and closed asynchronously.

use std::future::Future;
use std::panic::Location;

use super::ended::Body;
use super::guards::Lost;
use super::running::Running;
use super::{Exit, Failed, Problem};

/// Something that is opened before it is used and closed afterwards, whatever happens: Python's asynchronous context manager. Use it by
/// [`with`]; make one of two closures by [`scoped`].
pub trait Resource {
    /// What is used while it is open.
    type Item;
    /// Why it cannot be opened or closed.
    type Error;

    /// Opens it.
    fn open(self) -> impl Future<Output = Result<Self::Item, Self::Error>>
    where
        Self: Sized;

    /// Closes it, behind a shield. `exit` says how its use ended.
    fn close(item: Self::Item, exit: Exit) -> impl Future<Output = Result<(), Self::Error>>;
}

/// Opens a resource, runs `body` with it, and closes it, however the body ended. Python's `async with`.
///
/// The closing is a clean-up like that of [`finally`](super::finally): behind a shield, waited for by scopes, with the same limit. Its error is
/// the result if the body has none; otherwise it is reported.
///
/// ```
/// use divisi::cleanup::{Exit, Resource, with};
///
/// struct Session(Vec<&'static str>);
///
/// impl Resource for Session {
///     type Item = Session;
///     type Error = std::io::Error;
///     async fn open(mut self) -> Result<Session, std::io::Error> {
///         self.0.push("open");
///         Ok(self)
///     }
///     async fn close(mut session: Session, exit: Exit) -> Result<(), std::io::Error> {
///         session.0.push(if exit == Exit::Done { "commit" } else { "roll back" });
///         assert_eq!(session.0, ["open", "use", "commit"]);
///         Ok(())
///     }
/// }
///
/// # divisi::run(async {
/// let value: Result<i32, std::io::Error> = with(Session(Vec::new()), async |session| {
///     session.0.push("use");
///     Ok(7)
/// })
/// .await;
/// assert_eq!(value.unwrap(), 7);
/// # });
/// ```
///
/// # Errors
///
/// That of opening, in which case nothing else runs; that of the body; or that of closing.
///
/// # Cancel safety
///
/// As [`finally`](super::finally).
#[track_caller]
pub fn with<R, B, T, E>(resource: R, body: B) -> impl Future<Output = Result<T, E>>
where
    R: Resource,
    R::Error: Into<Failed>,
    B: AsyncFnOnce(&mut R::Item) -> Result<T, E>,
    E: From<R::Error>,
{
    let at = Location::caller();
    async move {
        let mut item = resource.open().await?;
        let lost = Lost::new(at);
        let ended = Body::new(body(&mut item), at).await;
        let exit = match ended.value() {
            Some(Err(_)) => Exit::Failed,
            _ => ended.exit(),
        };
        let closed = Running::new(R::close(item, exit), None, at).await;
        lost.disarm();
        let closed = match closed {
            Ok(Err(error)) if exit == Exit::Done => Err(error),
            Ok(closed) => {
                Problem::settle(Ok(closed.err().map(Into::into)), ended.has_value(), at);
                Ok(())
            }
            Err(problem) => {
                Problem::settle(Err(problem), ended.has_value(), at);
                Ok(())
            }
        };
        let value = ended.finish().await?;
        closed?;
        Ok(value)
    }
}

/// Makes a [`Resource`] of two closures.
///
/// ```
/// use divisi::cleanup::{scoped, with};
///
/// # divisi::run(async {
/// let file = scoped(
///     async || Ok::<_, std::io::Error>(String::from("opened")),
///     async |text: String, _exit| {
///         assert_eq!(text, "opened, used");
///         Ok(())
///     },
/// );
/// let result: Result<(), std::io::Error> = with(file, async |text| {
///     text.push_str(", used");
///     Ok(())
/// })
/// .await;
/// result.unwrap();
/// # });
/// ```
pub fn scoped<O, P, C, Q, I, E>(open: O, close: C) -> Scoped<O, C>
where
    O: FnOnce() -> P,
    P: Future<Output = Result<I, E>>,
    C: FnOnce(I, Exit) -> Q,
    Q: Future<Output = Result<(), E>>,
{
    Scoped { open, close }
}

/// The resource of [`scoped`].
#[derive(Debug)]
pub struct Scoped<O, C> {
    open: O,
    close: C,
}

/// What [`Scoped`] opens: dereferences to what its first closure gave.
#[derive(Debug)]
pub struct Opened<I, C> {
    item: I,
    close: C,
}

impl<I, C> std::ops::Deref for Opened<I, C> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.item
    }
}

impl<I, C> std::ops::DerefMut for Opened<I, C> {
    fn deref_mut(&mut self) -> &mut I {
        &mut self.item
    }
}

impl<O, P, C, Q, I, E> Resource for Scoped<O, C>
where
    O: FnOnce() -> P,
    P: Future<Output = Result<I, E>>,
    C: FnOnce(I, Exit) -> Q,
    Q: Future<Output = Result<(), E>>,
{
    type Item = Opened<I, C>;
    type Error = E;

    async fn open(self) -> Result<Opened<I, C>, E> {
        Ok(Opened {
            item: (self.open)().await?,
            close: self.close,
        })
    }

    async fn close(opened: Opened<I, C>, exit: Exit) -> Result<(), E> {
        (opened.close)(opened.item, exit).await
    }
}
