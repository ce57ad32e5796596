//! A broadcast against a list of all that was ever sent: growth, lag, receivers that come and go.
#![cfg(not(divisi_loom))]

use divisi_sync::broadcast::{self, Receiver, TryRecvError};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Send(u8),
    Receive(usize),
    Subscribe,
    Clone(usize),
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..24_u8).prop_map(Step::Send),
        8 => any::<usize>().prop_map(Step::Receive),
        1 => Just(Step::Subscribe),
        1 => any::<usize>().prop_map(Step::Clone),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// What the next receive of one that has seen all before `next` returns.
fn expected(next: &mut usize, sent: usize, capacity: usize) -> Result<usize, TryRecvError> {
    let oldest = sent.saturating_sub(capacity);
    if *next < oldest {
        let missed = oldest - std::mem::replace(next, oldest);
        return Err(TryRecvError::Lagged(missed as u64));
    }
    if *next == sent {
        return Err(TryRecvError::Empty);
    }
    *next += 1;
    Ok(*next - 1)
}

proptest! {
    #[test]
    fn receivers_see_what_a_list_of_everything_says(
        capacity in prop_oneof![1..5_usize, 15..70_usize, Just(usize::MAX)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let (sender, receiver) = broadcast::channel(capacity);
        let mut sent = 0;
        let mut receivers: Vec<(Receiver<usize>, usize)> = vec![(receiver, 0)];
        for step in steps {
            let count = receivers.len();
            match step {
                Step::Send(values) => {
                    for _ in 0..values {
                        if count == 0 {
                            prop_assert!(sender.send(sent).is_err());
                        } else {
                            prop_assert_eq!(sender.send(sent), Ok(count));
                            sent += 1;
                        }
                    }
                }
                Step::Subscribe => receivers.push((sender.subscribe(), sent)),
                _ if count == 0 => {}
                Step::Receive(which) => {
                    let (receiver, next) = &mut receivers[which % count];
                    prop_assert_eq!(receiver.try_recv(), expected(next, sent, capacity));
                }
                Step::Clone(which) => {
                    let (receiver, next) = &receivers[which % count];
                    let clone = (receiver.clone(), *next);
                    receivers.push(clone);
                }
                Step::Drop(which) => drop(receivers.swap_remove(which % count)),
            }
            let oldest = sent.saturating_sub(capacity);
            for (receiver, next) in &receivers {
                prop_assert_eq!(receiver.len(), sent - oldest.max(*next));
            }
            let slowest = receivers.iter().map(|(_, next)| *next).min().unwrap_or(sent);
            prop_assert_eq!(sender.len(), sent - oldest.max(slowest));
        }
    }
}
