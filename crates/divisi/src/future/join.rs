//! `join!` and `try_join!`.

/// Waits for all of up to 16 futures, in the current task, and gives the tuple of their outputs.
///
/// The futures make progress alternately, on one core; [`spawn`](crate::spawn) them first if they shall run in parallel. Each wake-up of the task polls
/// all futures that are not done yet.
///
/// Use it in an async function or block.
///
/// # Cancel safety
///
/// Dropping the surrounding future drops those that are not done and the outputs of the others.
///
/// ```
/// # divisi::run(async {
/// let (a, b, c) = divisi::join!(async { 1 }, async { "two" }, async { 3.0 });
/// assert_eq!((a, b, c), (1, "two", 3.0));
/// # });
/// ```
#[macro_export]
macro_rules! join {
    ($($future:expr),* $(,)?) => {
        $crate::__divisi_join!(
            @name join { f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 } {} $($future,)*
        )
    };
}

/// Waits until all of up to 16 futures have given `Ok`, or the first has given `Err`, in the current task.
///
/// Gives `Ok` with the tuple of their values, or the error; then the other futures are dropped where they are. All must have the same type of error.
///
/// Use it in an async function or block.
///
/// # Cancel safety
///
/// Dropping the surrounding future drops those that are not done and the outputs of the others.
///
/// ```
/// # divisi::run(async {
/// let both = divisi::try_join!(async { "1".parse::<u8>() }, async { "2".parse::<u8>() });
/// assert_eq!(both, Ok((1, 2)));
///
/// let error = divisi::try_join!(std::future::pending::<Result<(), &str>>(), async { Err::<(), _>("no") });
/// assert_eq!(error, Err("no"));
/// # });
/// ```
#[macro_export]
macro_rules! try_join {
    ($($future:expr),* $(,)?) => {
        $crate::__divisi_join!(
            @name try_join { f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 } {} $($future,)*
        )
    };
}

/// Gives each future a name of its own, then expands what was asked for.
#[doc(hidden)]
#[macro_export]
macro_rules! __divisi_join {
    (@name $kind:ident { $name:ident $($names:ident)* } { $($named:tt)* } $future:expr, $($rest:tt)*) => {
        $crate::__divisi_join!(@name $kind { $($names)* } { $($named)* ($name $future) } $($rest)*)
    };
    (@name $kind:ident {} { $($named:tt)* } $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            ::core::stringify!($kind), "! takes at most 16 futures: nest it, or use a task group"
        ))
    };
    (@name $kind:ident { $($names:ident)* } { $($named:tt)* }) => {
        $crate::__divisi_join!(@$kind $($named)*)
    };

    (@join $(($name:ident $future:expr))*) => {{
        $(let mut $name = $crate::future::macro_support::pin!(
            $crate::future::macro_support::maybe_done($future)
        );)*
        $crate::future::macro_support::poll_fn(move |__divisi_cx| {
            let _ = &__divisi_cx;
            #[allow(unused_mut)]
            let mut all = true;
            $(all &= $name.as_mut().poll(__divisi_cx).is_ready();)*
            if all {
                $crate::future::macro_support::Poll::Ready(($(
                    $name.as_mut().take().expect("`join!` was polled after it was done"),
                )*))
            } else {
                $crate::future::macro_support::Poll::Pending
            }
        })
        .await
    }};

    (@try_join $(($name:ident $future:expr))*) => {{
        $(let mut $name = $crate::future::macro_support::pin!(
            $crate::future::macro_support::maybe_done($future)
        );)*
        $crate::future::macro_support::poll_fn(move |__divisi_cx| {
            let _ = &__divisi_cx;
            #[allow(unused_mut)]
            let mut all = true;
            $(
                if $name.as_mut().poll(__divisi_cx).is_ready() {
                    if let ::core::option::Option::Some(::core::result::Result::Err(_)) = $name.as_mut().output_mut() {
                        let ::core::option::Option::Some(::core::result::Result::Err(error)) = $name.as_mut().take() else {
                            ::core::unreachable!("it was an error a moment ago")
                        };
                        return $crate::future::macro_support::Poll::Ready(::core::result::Result::Err(error));
                    }
                } else {
                    all = false;
                }
            )*
            if all {
                $crate::future::macro_support::Poll::Ready(::core::result::Result::Ok(($(
                    match $name.as_mut().take() {
                        ::core::option::Option::Some(::core::result::Result::Ok(value)) => value,
                        _ => ::core::panic!("`try_join!` was polled after it was done"),
                    },
                )*)))
            } else {
                $crate::future::macro_support::Poll::Pending
            }
        })
        .await
    }};
}
