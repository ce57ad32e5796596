//! Every transition, from every kind of word that it can meet.

use super::*;

const HANDLE: u64 = JOIN_INTEREST;

/// A word with these flags, references and polls.
fn state(flags: u64, references: u64, polls: u64) -> State {
    State(AtomicU64::new(
        flags | (references * REF_ONE) | (polls * POLL_ONE),
    ))
}

#[track_caller]
fn assert_word(state: &State, flags: u64, references: u64, polls: u64) {
    let expected = Snapshot(flags | (references * REF_ONE) | (polls * POLL_ONE));
    assert_eq!(state.load(), expected);
}

#[test]
fn a_new_task_is_scheduled_and_has_a_handle_and_three_references() {
    assert_word(&State::new(), SCHEDULED | HANDLE, 3, 0);
}

#[test]
fn to_running_claims_and_counts() {
    let s = state(SCHEDULED | HANDLE, 3, 4);
    assert_eq!(s.to_running(), ToRunning::Poll);
    assert_word(&s, RUNNING | HANDLE, 3, 5);
}

#[test]
fn to_running_of_a_cancelled_task_claims_without_a_poll() {
    let s = state(SCHEDULED | CANCELLED, 3, 4);
    assert_eq!(s.to_running(), ToRunning::Cancel);
    assert_word(&s, RUNNING | CANCELLED, 3, 4);
}

#[test]
fn to_running_after_a_shutdown_changes_nothing() {
    for flags in [
        SCHEDULED | RUNNING | CANCELLED,
        SCHEDULED | COMPLETE | CANCELLED,
    ] {
        for claim in [State::to_running, State::to_abandoned] {
            let s = state(flags, 2, 4);
            assert_eq!(claim(&s), ToRunning::Stale);
            assert_word(&s, flags, 2, 4);
        }
    }
}

#[test]
fn the_poll_count_wraps_alone() {
    let s = state(SCHEDULED | HANDLE, 3, (1 << 28) - 1);
    assert_eq!(s.to_running(), ToRunning::Poll);
    assert_word(&s, RUNNING | HANDLE, 3, 0);
}

#[test]
fn to_abandoned_claims_and_cancels() {
    let s = state(SCHEDULED | HANDLE, 3, 4);
    assert_eq!(s.to_abandoned(), ToRunning::Cancel);
    assert_word(&s, RUNNING | CANCELLED | HANDLE, 3, 4);
}

#[test]
fn to_idle_gives_the_runners_reference_back() {
    let s = state(RUNNING | HANDLE, 3, 1);
    assert_eq!(s.to_idle(), ToIdle::Idle);
    assert_word(&s, HANDLE, 2, 1);
}

#[test]
fn to_idle_of_a_woken_task_makes_a_reference() {
    let s = state(RUNNING | SCHEDULED | HANDLE, 3, 1);
    assert_eq!(s.to_idle(), ToIdle::Yielded);
    assert_word(&s, SCHEDULED | HANDLE, 4, 1);
}

#[test]
fn to_idle_of_a_cancelled_task_keeps_the_claim() {
    for woken in [0, SCHEDULED] {
        let s = state(RUNNING | CANCELLED | woken, 3, 1);
        assert_eq!(s.to_idle(), ToIdle::Cancelled);
        assert_word(&s, RUNNING | CANCELLED | woken, 3, 1);
    }
}

#[test]
fn to_complete_ends_the_claim() {
    let s = state(RUNNING | SCHEDULED | HANDLE | JOIN_WAKER, 3, 1);
    let after = s.to_complete();
    assert_word(&s, COMPLETE | SCHEDULED | HANDLE | JOIN_WAKER, 3, 1);
    assert_eq!(after, s.load());
}

#[test]
fn a_wake_makes_a_runnable_only_of_an_idle_task() {
    let cases = [
        (0, SCHEDULED, ToScheduled::Submit, 1),
        (SCHEDULED, SCHEDULED, ToScheduled::Nothing, 0),
        (RUNNING, RUNNING | SCHEDULED, ToScheduled::Nothing, 0),
        (
            RUNNING | SCHEDULED,
            RUNNING | SCHEDULED,
            ToScheduled::Nothing,
            0,
        ),
        (COMPLETE, COMPLETE, ToScheduled::Nothing, 0),
        (
            SCHEDULED | CANCELLED,
            SCHEDULED | CANCELLED,
            ToScheduled::Nothing,
            0,
        ),
    ];
    for (before, after, result, made) in cases {
        let s = state(before, 3, 1);
        assert_eq!(s.wake_by_ref(), result, "{before:b}");
        assert_word(&s, after, 3 + made, 1);
    }
}

#[test]
fn a_wake_by_value_gives_its_reference_back_unless_it_makes_a_runnable() {
    use ToScheduledByValue::{Last, Released, Submit};
    let cases = [
        (0, 3, SCHEDULED, 4, Submit),
        (SCHEDULED, 3, SCHEDULED, 2, Released),
        (RUNNING, 3, RUNNING | SCHEDULED, 2, Released),
        (COMPLETE, 3, COMPLETE, 2, Released),
        (COMPLETE, 1, COMPLETE, 0, Last),
    ];
    for (before, references, after, left, result) in cases {
        let s = state(before, references, 1);
        assert_eq!(s.wake_by_value(), result, "{before:b}");
        assert_word(&s, after, left, 1);
    }
}

#[test]
fn a_cancellation_makes_a_runnable_only_of_an_idle_task() {
    let cases = [
        (0, SCHEDULED | CANCELLED, ToScheduled::Submit, 1),
        (SCHEDULED, SCHEDULED | CANCELLED, ToScheduled::Nothing, 0),
        (RUNNING, RUNNING | CANCELLED, ToScheduled::Nothing, 0),
        (COMPLETE, COMPLETE, ToScheduled::Nothing, 0),
        (
            SCHEDULED | CANCELLED,
            SCHEDULED | CANCELLED,
            ToScheduled::Nothing,
            0,
        ),
        (
            RUNNING | CANCELLED,
            RUNNING | CANCELLED,
            ToScheduled::Nothing,
            0,
        ),
    ];
    for (before, after, result, made) in cases {
        let s = state(before, 3, 1);
        assert_eq!(s.to_cancelled(), result, "{before:b}");
        assert_word(&s, after, 3 + made, 1);
    }
}

#[test]
fn a_shutdown_claims_what_nobody_runs() {
    let cases = [
        (0, RUNNING | CANCELLED, ToShutdown::Claimed, 1),
        (
            SCHEDULED,
            RUNNING | SCHEDULED | CANCELLED,
            ToShutdown::Claimed,
            1,
        ),
        (
            SCHEDULED | CANCELLED,
            RUNNING | SCHEDULED | CANCELLED,
            ToShutdown::Claimed,
            1,
        ),
        (RUNNING, RUNNING | CANCELLED, ToShutdown::Ending, 0),
        (COMPLETE, COMPLETE, ToShutdown::Finished, 0),
    ];
    for (before, after, result, made) in cases {
        let s = state(before, 3, 1);
        assert_eq!(s.to_shutdown(true), result, "{before:b}");
        assert_word(&s, after, 3 + made, 1);
    }
    for (before, result) in [
        (RUNNING, ToShutdown::Running),
        (RUNNING | CANCELLED, ToShutdown::Ending),
    ] {
        let s = state(before, 3, 1);
        assert_eq!(s.to_shutdown(false), result);
        assert_word(&s, before, 3, 1);
    }
}

#[test]
fn references_are_counted() {
    let s = state(COMPLETE, 1, 9);
    s.ref_inc();
    s.ref_inc();
    assert_word(&s, COMPLETE, 3, 9);
    assert!(!s.ref_dec(1));
    assert!(s.ref_dec(2));
    assert_word(&s, COMPLETE, 0, 9);
}

#[test]
fn references_are_stopped_long_before_they_wrap() {
    assert!(!Snapshot((REF_LIMIT - 1) * REF_ONE).overflows());
    assert!(Snapshot(REF_LIMIT * REF_ONE).overflows());
    assert!(Snapshot(REF_MASK).overflows());
}

#[test]
fn the_join_waker_changes_hands_until_the_task_is_complete() {
    let s = state(HANDLE, 3, 1);
    assert!(s.set_join_waker());
    assert_word(&s, HANDLE | JOIN_WAKER, 3, 1);
    assert!(s.unset_join_waker());
    assert_word(&s, HANDLE, 3, 1);

    let s = state(HANDLE | COMPLETE, 3, 1);
    assert!(!s.set_join_waker());
    assert_word(&s, HANDLE | COMPLETE, 3, 1);
    let s = state(HANDLE | COMPLETE | JOIN_WAKER, 3, 1);
    assert!(!s.unset_join_waker());
    assert_word(&s, HANDLE | COMPLETE | JOIN_WAKER, 3, 1);
    assert!(s.unset_join_waker_after_complete().has_join_interest());
    assert_word(&s, HANDLE | COMPLETE, 3, 1);
}

#[test]
fn a_handle_leaves_a_task_that_goes_on_in_one_step_or_two() {
    let s = state(HANDLE | RUNNING, 3, 1);
    assert_eq!(s.leave_incomplete(), JoinLeave::Left);
    assert_word(&s, RUNNING, 2, 1);

    let s = state(HANDLE | JOIN_WAKER, 3, 1);
    assert_eq!(s.leave_incomplete(), JoinLeave::TakeWaker);
    assert_word(&s, HANDLE, 3, 1);

    let s = state(HANDLE | COMPLETE | JOIN_WAKER, 3, 1);
    assert_eq!(s.leave_incomplete(), JoinLeave::TakeOutput);
    assert_word(&s, HANDLE | COMPLETE | JOIN_WAKER, 3, 1);
}

#[test]
fn a_handle_leaves_a_complete_task_with_its_waker_or_leaves_that_behind() {
    let s = state(HANDLE | COMPLETE, 2, 1);
    assert_eq!(s.leave_complete(false), JoinLeave::TakeWaker);
    assert_word(&s, HANDLE | COMPLETE, 2, 1);
    assert_eq!(s.leave_complete(true), JoinLeave::Left);
    assert_word(&s, COMPLETE, 1, 1);

    let s = state(HANDLE | COMPLETE, 1, 1);
    assert_eq!(s.leave_complete(true), JoinLeave::Last);

    // The completing thread still wakes it, and drops it when it sees that the handle has left.
    let s = state(HANDLE | COMPLETE | JOIN_WAKER, 3, 1);
    assert_eq!(s.leave_complete(false), JoinLeave::Left);
    assert!(!s.unset_join_waker_after_complete().has_join_interest());
    assert_word(&s, COMPLETE, 2, 1);
}

#[test]
fn it_spells_its_bits() {
    assert_eq!(
        format!("{:?}", state(SCHEDULED | CANCELLED | HANDLE, 3, 12)),
        "SCHEDULED | CANCELLED | JOIN_INTEREST | references: 3 | polls: 12"
    );
}
