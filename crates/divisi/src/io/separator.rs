//! Where a record ends.

/// The end of the shortest beginning of `data` that ends with one of `separators`, none of which is empty.
pub(super) fn find_first(data: &[u8], separators: &[&[u8]]) -> Option<usize> {
    let mut within = data;
    let mut found = None;
    for separator in separators {
        if let Some(end) = find(within, separator) {
            found = Some(end);
            // Only an end before this one is of interest to the others.
            within = &data[..end - 1];
        }
    }
    found
}

fn find(data: &[u8], separator: &[u8]) -> Option<usize> {
    let (&last, before) = separator.split_last()?;
    let mut from = before.len();
    while let Some(at) = data
        .get(from..)?
        .iter()
        .position(|&byte| byte == last)
        .map(|at| from + at)
    {
        if data[..at].ends_with(before) {
            return Some(at + 1);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(data: &[u8], separators: &[&[u8]]) -> Option<usize> {
        (1..=data.len()).find(|&end| {
            separators
                .iter()
                .any(|separator| data[..end].ends_with(separator))
        })
    }

    proptest! {
        #[test]
        fn the_shortest_record_is_found(
            data in proptest::collection::vec(0..3_u8, 0..40),
            separators in proptest::collection::vec(proptest::collection::vec(0..3_u8, 1..4), 1..4),
        ) {
            let separators: Vec<&[u8]> = separators.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(find_first(&data, &separators), model(&data, &separators));
        }
    }
}
