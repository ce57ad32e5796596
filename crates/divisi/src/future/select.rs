//! `select!`.

/// Waits for the first of up to 16 futures and runs its arm, in the current task.
///
/// ```text
/// select! {
///     biased;                                  // optional
///     pattern = future => expression,
///     pattern = future, if condition => { .. }
///     else => expression,                      // optional
/// }
/// ```
///
/// All futures are polled in turn until one is ready and its output matches the pattern. **Then all futures are dropped**, and the expression
/// of the arm is evaluated; it may use what the futures had borrowed, and `break`, `continue`, `return`, `?` and `.await` mean in it what they mean around
/// the macro. The value of the expression is the value of `select!`.
///
/// * A future whose output does not match its pattern is out: it is not polled again.
/// * An arm whose `if` condition is false is out from the start. Its future is constructed, and dropped unpolled.
/// * If all arms are out, the `else` expression is evaluated; `select!` panics if there is none.
///
/// # Fairness
///
/// Each poll begins at another arm, chosen at random, so that an arm that is always ready cannot starve the others. With `biased;` every poll goes from top to
/// bottom: it costs less and gives the upper arms precedence.
///
/// # Cancel safety
///
/// The futures that did not win are dropped where they wait. In a loop, use futures that lose nothing then (each method says so under this heading), or make the
/// future before the loop, [pin](std::pin::pin) it, and select on `&mut future`: then it is only set aside.
///
/// A task group, a clean-up or a shield that has begun and is set aside when a scope around the loop is cancelled (by a time-out, say) keeps that scope from
/// ending until the loop polls it again. So spawn a group and select on its handle, if what an arm does may take long.
///
/// # Panics
///
/// If all arms are out and there is no `else`.
///
/// ```
/// use std::time::Duration;
/// use divisi::time::sleep;
///
/// # divisi::run(async {
/// let answer = divisi::select! {
///     _ = sleep(Duration::from_secs(60)) => "late",
///     Some(text) = async { Some("in time") } => text,
///     else => "nothing",
/// };
/// assert_eq!(answer, "in time");
/// # });
/// ```
///
/// Use it in an async function or block.
#[macro_export]
macro_rules! select {
    (biased; $($arms:tt)+) => {
        $crate::__divisi_select!(@arms {
            (0 f0 1) (1 f1 2) (2 f2 4) (3 f3 8) (4 f4 16) (5 f5 32) (6 f6 64) (7 f7 128) (8 f8 256) (9 f9 512) (10 f10 1024)
            (11 f11 2048) (12 f12 4096) (13 f13 8192) (14 f14 16384) (15 f15 32768)
        } { biased } {} $($arms)+)
    };
    ($($arms:tt)+) => {
        $crate::__divisi_select!(@arms {
            (0 f0 1) (1 f1 2) (2 f2 4) (3 f3 8) (4 f4 16) (5 f5 32) (6 f6 64) (7 f7 128) (8 f8 256) (9 f9 512) (10 f10 1024)
            (11 f11 2048) (12 f12 4096) (13 f13 8192) (14 f14 16384) (15 f15 32768)
        } { fair } {} $($arms)+)
    };
    () => {
        ::core::compile_error!("select! needs at least one arm: `pattern = future => expression`")
    };
}

/// Reads the arms one by one, giving each a place `(index name bit)`, then expands the whole.
#[doc(hidden)]
#[macro_export]
macro_rules! __divisi_select {
    // The end, with an `else` and without.
    (@arms { $($free:tt)* } { $order:ident } { $($arm:tt)* } else => $else:expr $(,)?) => {
        $crate::__divisi_select!(@expand { $order } { $($arm)* } { $else })
    };
    (@arms { $($free:tt)* } { $order:ident } { $($arm:tt)* }) => {
        $crate::__divisi_select!(@expand { $order } { $($arm)* } {
            ::core::panic!("all arms of `select!` are out and there is no `else` arm: add one")
        })
    };
    (@arms {} { $order:ident } { $($arm:tt)* } $($rest:tt)+) => {
        ::core::compile_error!("select! takes at most 16 arms: nest it, or use a task group")
    };

    // An arm, in each of its forms.
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr, if $condition:expr => $body:block, $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, $condition, $body) } $($rest)*)
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr => $body:block, $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, true, $body) } $($rest)*)
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr, if $condition:expr => $body:block $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, $condition, $body) } $($rest)*)
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr => $body:block $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, true, $body) } $($rest)*)
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr, if $condition:expr => $body:expr) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, $condition, $body) })
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr => $body:expr) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, true, $body) })
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr, if $condition:expr => $body:expr, $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, $condition, $body) } $($rest)*)
    };
    (@arms { $place:tt $($free:tt)* } $order:tt { $($arm:tt)* } $pattern:pat = $future:expr => $body:expr, $($rest:tt)*) => {
        $crate::__divisi_select!(@arms { $($free)* } $order { $($arm)* ($place $pattern, $future, true, $body) } $($rest)*)
    };

    (@expand { $order:ident } {} { $else:expr }) => { $else };
    (@expand { $order:ident } {
        $((($index:literal $name:ident $bit:literal) $pattern:pat, $future:expr, $condition:expr, $body:expr))+
    } { $else:expr }) => {{
        // The futures live in the inner block only: an arm may use what they had borrowed.
        #[allow(non_camel_case_types)]
        enum __DivisiOutput<$($name),+> {
            $($name($name),)+
            AllOut,
        }
        #[allow(unused_mut)]
        let mut __divisi_output = {
            let mut out: u16 = 0;
            $(if !$condition { out |= $bit; })+
            $(let mut $name = $crate::future::macro_support::pin!(
                $crate::future::macro_support::IntoFuture::into_future($future)
            );)+
            $crate::future::macro_support::poll_fn(move |__divisi_cx| {
                const __DIVISI_ALL: u32 = [$($bit as u16),+].len() as u32;
                let first = $crate::__divisi_select!(@first $order __DIVISI_ALL);
                let mut pending = false;
                for step in 0..__DIVISI_ALL {
                    let mut arm: u32 = first + step;
                    if arm >= __DIVISI_ALL {
                        arm -= __DIVISI_ALL;
                    }
                    match arm {
                        $($index if out & $bit == 0 => {
                            match $crate::future::macro_support::Future::poll($name.as_mut(), __divisi_cx) {
                                $crate::future::macro_support::Poll::Pending => pending = true,
                                $crate::future::macro_support::Poll::Ready(output) => {
                                    // Tested in a guard, which moves nothing, so that the output is whole when the arm gets it.
                                    #[allow(unused_mut)]
                                    let mut output = output;
                                    let mut matches = false;
                                    #[allow(unused_variables, unused_mut, unreachable_patterns, clippy::all)]
                                    match output {
                                        $pattern if { matches = true; false } => ::core::unreachable!(),
                                        _ => {}
                                    }
                                    if matches {
                                        return $crate::future::macro_support::Poll::Ready(__DivisiOutput::$name(output));
                                    }
                                    out |= $bit;
                                }
                            }
                        })+
                        _ => {}
                    }
                }
                if pending {
                    $crate::future::macro_support::Poll::Pending
                } else {
                    $crate::future::macro_support::Poll::Ready(__DivisiOutput::AllOut)
                }
            })
            .await
        };
        match __divisi_output {
            $(__DivisiOutput::$name($pattern) => $body,)+
            __DivisiOutput::AllOut => $else,
            #[allow(unreachable_patterns)]
            _ => ::core::unreachable!("the output matched its pattern before"),
        }
    }};

    (@first biased $all:ident) => { 0 };
    (@first fair $all:ident) => { $crate::future::macro_support::fair_start($all) };
}
