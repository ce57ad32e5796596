//! `join!` and `try_join!`.

/// Waits for all of up to 16 futures, in the current task, and gives the tuple of their outputs.
///
/// The futures make progress alternately, on one core; [`spawn`](crate::spawn) them first if they shall run in parallel. Each wake-up of the task polls
/// all futures that are not done yet, beginning with another one each time.
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
            @name join {
                (0 f0) (1 f1) (2 f2) (3 f3) (4 f4) (5 f5) (6 f6) (7 f7) (8 f8) (9 f9) (10 f10) (11 f11) (12 f12) (13 f13) (14 f14) (15 f15)
            } {} $($future,)*
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
            @name try_join {
                (0 f0) (1 f1) (2 f2) (3 f3) (4 f4) (5 f5) (6 f6) (7 f7) (8 f8) (9 f9) (10 f10) (11 f11) (12 f12) (13 f13) (14 f14) (15 f15)
            } {} $($future,)*
        )
    };
}

/// Gives each future a name of its own, then expands what was asked for.
#[doc(hidden)]
#[macro_export]
macro_rules! __divisi_join {
    (@name $kind:ident { $name:tt $($names:tt)* } { $($named:tt)* } $future:expr, $($rest:tt)*) => {
        $crate::__divisi_join!(@name $kind { $($names)* } { $($named)* ($name $future) } $($rest)*)
    };
    (@name $kind:ident {} { $($named:tt)* } $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            ::core::stringify!($kind), "! takes at most 16 futures: nest it, or use a task group"
        ))
    };
    (@name $kind:ident { $($names:tt)* } { $($named:tt)* }) => {
        $crate::__divisi_join!(@$kind $($named)*)
    };

    (@join) => { () };
    (@try_join) => { ::core::result::Result::Ok(()) };

    // Each poll begins with another future than the last, so that one that spends the task's whole budget does not keep the others from theirs.
    (@join $((($index:literal $name:ident) $future:expr))+) => {{
        $(let mut $name = $crate::future::macro_support::pin!(
            $crate::future::macro_support::maybe_done($future)
        );)*
        let count: u32 = [$($index as u32),+].len() as u32;
        let mut first = 0;
        $crate::future::macro_support::poll_fn(move |__divisi_cx| {
            let mut all = true;
            for step in 0..count {
                match (first + step) % count {
                    $($index => all &= $name.as_mut().poll(__divisi_cx).is_ready(),)+
                    _ => {}
                }
            }
            first = (first + 1) % count;
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

    (@try_join $((($index:literal $name:ident) $future:expr))+) => {{
        $(let mut $name = $crate::future::macro_support::pin!(
            $crate::future::macro_support::maybe_done($future)
        );)*
        let count: u32 = [$($index as u32),+].len() as u32;
        let mut first = 0;
        $crate::future::macro_support::poll_fn(move |__divisi_cx| {
            let mut all = true;
            for step in 0..count {
                match (first + step) % count {
                $($index =>
                if $name.as_mut().poll(__divisi_cx).is_ready() {
                    if let ::core::option::Option::Some(::core::result::Result::Err(_)) = $name.as_mut().output_mut() {
                        let ::core::option::Option::Some(::core::result::Result::Err(error)) = $name.as_mut().take() else {
                            ::core::unreachable!("it was an error a moment ago")
                        };
                        return $crate::future::macro_support::Poll::Ready(::core::result::Result::Err(error));
                    }
                } else {
                    all = false;
                },
                )+
                _ => {}
                }
            }
            first = (first + 1) % count;
            if all {
                $crate::future::macro_support::Poll::Ready(::core::result::Result::Ok(($(
                    match $name.as_mut().take() {
                        ::core::option::Option::Some(::core::result::Result::Ok(value)) => value,
                        _ => ::core::panic!("`try_join!` was polled after it was done"),
                    },
                )+)))
            } else {
                $crate::future::macro_support::Poll::Pending
            }
        })
        .await
    }};
}
