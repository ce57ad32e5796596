//! What stands in the attribute's parentheses: `name = value, name = value`.

use std::time::Duration;

use proc_macro::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree};

use crate::{diagnostic::Diagnostic, function::is_punct};

/// The arguments of either macro; what is `None` was not written.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) worker_threads: Option<usize>,
    pub(crate) compute_threads: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) virtual_clock: Option<bool>,
    pub(crate) allow_leftover_tasks: Option<bool>,
    pub(crate) divisi: Option<TokenStream>,
}

/// One `name = value`.
struct Argument {
    name: Ident,
    value: Vec<TokenTree>,
}

impl Args {
    /// Parses the arguments of `#[divisi::{macro_name}(..)]`, which knows those named in `allowed`.
    ///
    /// Every wrong argument makes a diagnostic of its own; the right ones count all the same, so that the function is still expanded and
    /// whatever is wrong inside it is reported in the same run of the compiler.
    pub(crate) fn parse(
        arguments: TokenStream,
        macro_name: &str,
        allowed: &[&str],
    ) -> (Self, Vec<Diagnostic>) {
        let mut args = Self::default();
        let mut diagnostics = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for argument in split_at_commas(arguments) {
            let outcome = Argument::parse(argument, macro_name, allowed).and_then(|argument| {
                let name = argument.name.to_string();
                if seen.contains(&name) {
                    return Err(Diagnostic::new(
                        argument.name.span(),
                        format!("`{name}` is given twice"),
                    ));
                }
                seen.push(name);
                args.set(argument)
            });
            diagnostics.extend(outcome.err());
        }
        (args, diagnostics)
    }

    fn set(&mut self, argument: Argument) -> Result<(), Diagnostic> {
        match argument.name.to_string().as_str() {
            "worker_threads" => self.worker_threads = Some(argument.count()?),
            "compute_threads" => self.compute_threads = Some(argument.count()?),
            "timeout" => self.timeout = Some(argument.duration()?),
            "clock" => self.virtual_clock = Some(argument.is_virtual_clock()?),
            "allow_leftover_tasks" => self.allow_leftover_tasks = Some(argument.truth()?),
            "crate" => self.divisi = Some(argument.path()?),
            other => unreachable!("`{other}` was allowed but has no field"),
        }
        Ok(())
    }
}

/// The arguments, each as the tokens between two commas. A comma inside of brackets or generics belongs to its group; paths with generics
/// are no argument's value, so `<` needs no care.
fn split_at_commas(arguments: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut split = vec![Vec::new()];
    for token in arguments {
        if is_punct(&token, ',') {
            split.push(Vec::new());
        } else {
            split
                .last_mut()
                .expect("starts with one element and only grows")
                .push(token);
        }
    }
    split.retain(|argument| !argument.is_empty());
    split
}

impl Argument {
    fn parse(
        tokens: Vec<TokenTree>,
        macro_name: &str,
        allowed: &[&str],
    ) -> Result<Self, Diagnostic> {
        let mut tokens = tokens.into_iter();
        let known = || format!("`#[divisi::{macro_name}]` takes {}", list(allowed));
        let name = match tokens.next() {
            Some(TokenTree::Ident(name)) => name,
            other => {
                let span = other.map_or_else(Span::call_site, |token| token.span());
                return Err(Diagnostic::new(
                    span,
                    format!("expected `name = value`; {}", known()),
                ));
            }
        };
        if !allowed.contains(&name.to_string().as_str()) {
            return Err(Diagnostic::new(
                name.span(),
                format!("unknown argument `{name}`; {}", known()),
            ));
        }
        if !tokens.next().is_some_and(|token| is_punct(&token, '=')) {
            return Err(Diagnostic::new(
                name.span(),
                format!("`{name}` needs a value: write `{name} = ..`"),
            ));
        }
        let value: Vec<_> = tokens.flat_map(ungrouped).collect();
        if value.is_empty() {
            return Err(Diagnostic::new(
                name.span(),
                format!("`{name}` needs a value: write `{name} = ..`"),
            ));
        }
        Ok(Self { name, value })
    }

    /// An error about the value as a whole.
    fn wrong_value(&self, expected: &str) -> Diagnostic {
        let [first, .., last] = self.value.as_slice() else {
            return Diagnostic::new(
                self.value[0].span(),
                format!("`{}` must be {expected}", self.name),
            );
        };
        Diagnostic::spanning(
            first.span(),
            last.span(),
            format!("`{}` must be {expected}", self.name),
        )
    }

    /// A number of threads.
    fn count(&self) -> Result<usize, Diagnostic> {
        let wrong = || self.wrong_value("a whole number of at least 1, written out");
        let [TokenTree::Literal(literal)] = self.value.as_slice() else {
            return Err(wrong());
        };
        let digits = literal.to_string().replace('_', "");
        let digits = digits.strip_suffix("usize").unwrap_or(&digits);
        digits
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(wrong)
    }

    fn truth(&self) -> Result<bool, Diagnostic> {
        match self.value.as_slice() {
            [TokenTree::Ident(word)] if word.to_string() == "true" => Ok(true),
            [TokenTree::Ident(word)] if word.to_string() == "false" => Ok(false),
            _ => Err(self.wrong_value("`true` or `false`")),
        }
    }

    fn is_virtual_clock(&self) -> Result<bool, Diagnostic> {
        match self.text().as_deref() {
            Some("virtual") => Ok(true),
            Some("real") => Ok(false),
            _ => Err(self.wrong_value("\"real\" or \"virtual\"")),
        }
    }

    fn duration(&self) -> Result<Duration, Diagnostic> {
        self.text()
            .and_then(|text| parse_duration(&text))
            .ok_or_else(|| self.wrong_value("a time above zero like \"500ms\", \"5s\" or \"2m\""))
    }

    fn path(self) -> Result<TokenStream, Diagnostic> {
        let is_path = self
            .value
            .iter()
            .all(|token| matches!(token, TokenTree::Ident(_)) || is_punct(token, ':'));
        if is_path {
            Ok(TokenStream::from_iter(self.value))
        } else {
            Err(self.wrong_value("a path, without quotes, like `my_crate::divisi`"))
        }
    }

    /// The content of the string literal that is the value.
    fn text(&self) -> Option<String> {
        match self.value.as_slice() {
            [TokenTree::Literal(literal)] => string_content(literal),
            _ => None,
        }
    }
}

/// What a plain string literal says. No valid value needs an escape or a raw string, so those are nobody's value.
fn string_content(literal: &Literal) -> Option<String> {
    let text = literal.to_string();
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    (!content.contains('\\')).then(|| content.to_owned())
}

/// `500ms`, `5s` or `2m`, above zero.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let amount: u64 = if digits.starts_with('+') {
        None
    } else {
        digits.parse().ok()
    }?;
    let duration = match &text[digits.len()..] {
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        "m" => Duration::from_secs(amount.checked_mul(60)?),
        _ => return None,
    };
    (duration > Duration::ZERO).then_some(duration)
}

/// A fragment that a `macro_rules!` macro handed on (`$n:literal`) comes in an undelimited group.
fn ungrouped(token: TokenTree) -> Vec<TokenTree> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            group.stream().into_iter().flat_map(ungrouped).collect()
        }
        token => vec![token],
    }
}

/// "`a`, `b` and `c`".
fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "no arguments".to_owned(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "", "s", "5", "+5s", "-5s", "1.5s", "5 s", " 5s", "5s ", "5h", "5S", "5sec", "0s",
            "0ms", "é5s", "5é",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_duration_that_overflows_is_refused() {
        assert_eq!(parse_duration("18446744073709551615m"), None);
        assert_eq!(parse_duration("18446744073709551616ms"), None);
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
