//! The annotated function, as far as the macros have to understand it: everything up to its body.

use std::iter::Peekable;

use proc_macro::{Delimiter, Group, Ident, TokenStream, TokenTree, token_stream};

use crate::diagnostic::Diagnostic;

/// An `async fn name() -> output { body }` without arguments or generics.
#[derive(Debug)]
pub(crate) struct Function {
    /// Attributes and doc comments, visibility: what belongs before the wrapper.
    pub(crate) attributes: TokenStream,
    pub(crate) visibility: TokenStream,
    pub(crate) name: Ident,
    /// The empty parentheses, kept for their span.
    pub(crate) parameters: Group,
    /// `-> T`, or nothing.
    pub(crate) output: TokenStream,
    pub(crate) body: Group,
}

type Tokens = Peekable<token_stream::IntoIter>;

impl Function {
    /// Parses the item under the attribute `#[divisi::{macro_name}]`.
    pub(crate) fn parse(item: TokenStream, macro_name: &str) -> Result<Self, Diagnostic> {
        let mut tokens = item.into_iter().peekable();
        let attributes = take_attributes(&mut tokens, macro_name)?;
        let visibility = take_visibility(&mut tokens);
        take_qualifiers(&mut tokens, macro_name)?;

        let name = match tokens.next() {
            Some(TokenTree::Ident(name)) => name,
            other => return Err(not_a_function(other, macro_name)),
        };
        let parameters = take_parameters(&mut tokens, &name, macro_name)?;
        let (output, body) = take_output_and_body(tokens, &name, macro_name)?;
        Ok(Self {
            attributes,
            visibility,
            name,
            parameters,
            output,
            body,
        })
    }
}

/// `#[..]` as often as it comes; doc comments have this form by now.
fn take_attributes(tokens: &mut Tokens, macro_name: &str) -> Result<TokenStream, Diagnostic> {
    let mut attributes = Vec::new();
    while let Some(TokenTree::Punct(hash)) = tokens.next_if(|token| is_punct(token, '#')) {
        let Some(TokenTree::Group(attribute)) = tokens.next() else {
            return Err(Diagnostic::new(
                hash.span(),
                "expected an attribute after `#`",
            ));
        };
        if macro_name == "test" && is_plain_test(&attribute) {
            return Err(Diagnostic::new(
                attribute.span(),
                "`#[divisi::test]` makes the function a test already: remove `#[test]`",
            ));
        }
        attributes.extend([TokenTree::Punct(hash), TokenTree::Group(attribute)]);
    }
    Ok(TokenStream::from_iter(attributes))
}

/// Whether an attribute is `[test]`.
fn is_plain_test(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    let first = tokens.next();
    first.is_some_and(|token| is_ident(&token, "test")) && tokens.next().is_none()
}

/// `pub`, `pub(..)` or nothing. A visibility that a `macro_rules!` macro handed on comes as an undelimited group.
fn take_visibility(tokens: &mut Tokens) -> TokenStream {
    let mut visibility = Vec::new();
    if let Some(group) = tokens.next_if(|token| is_group(token, Delimiter::None)) {
        visibility.push(group);
    } else if let Some(public) = tokens.next_if(|token| is_ident(token, "pub")) {
        visibility.push(public);
        visibility.extend(tokens.next_if(|token| is_group(token, Delimiter::Parenthesis)));
    }
    TokenStream::from_iter(visibility)
}

/// `async fn`, and nothing else between the visibility and the name.
fn take_qualifiers(tokens: &mut Tokens, macro_name: &str) -> Result<(), Diagnostic> {
    let mut is_async = false;
    loop {
        let Some(TokenTree::Ident(word)) =
            tokens.next_if(|token| matches!(token, TokenTree::Ident(_)))
        else {
            return Err(not_a_function(tokens.next(), macro_name));
        };
        match word.to_string().as_str() {
            "async" => is_async = true,
            "fn" if is_async => return Ok(()),
            "fn" => {
                return Err(Diagnostic::new(
                    word.span(),
                    format!(
                        "`#[divisi::{macro_name}]` needs an `async fn`: write `async` before `fn`"
                    ),
                ));
            }
            qualifier @ ("unsafe" | "const" | "extern" | "safe") => {
                return Err(Diagnostic::new(
                    word.span(),
                    format!(
                        "`#[divisi::{macro_name}]` does not go with `{qualifier}`: write `async fn` alone"
                    ),
                ));
            }
            _ => return Err(not_a_function(Some(TokenTree::Ident(word)), macro_name)),
        }
    }
}

fn not_a_function(found: Option<TokenTree>, macro_name: &str) -> Diagnostic {
    let message = format!("`#[divisi::{macro_name}]` goes on an `async fn`");
    Diagnostic::new(
        found.map_or_else(proc_macro::Span::call_site, |token| token.span()),
        message,
    )
}

/// The empty `()` after the name.
fn take_parameters(
    tokens: &mut Tokens,
    name: &Ident,
    macro_name: &str,
) -> Result<Group, Diagnostic> {
    match tokens.next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            let mut inside = group.stream().into_iter();
            match inside.next() {
                None => Ok(group),
                Some(first) => {
                    let end = inside
                        .last()
                        .map_or_else(|| first.span(), |last| last.span());
                    Err(Diagnostic::spanning(
                        first.span(),
                        end,
                        format!(
                            "`#[divisi::{macro_name}]` calls `{name}` itself: it takes no arguments"
                        ),
                    ))
                }
            }
        }
        Some(open) if is_punct(&open, '<') => Err(Diagnostic::new(
            open.span(),
            format!("`#[divisi::{macro_name}]` calls `{name}` itself: it cannot be generic"),
        )),
        other => Err(not_a_function(other, macro_name)),
    }
}

/// What is left: `-> T` or nothing, then the body.
fn take_output_and_body(
    tokens: Tokens,
    name: &Ident,
    macro_name: &str,
) -> Result<(TokenStream, Group), Diagnostic> {
    let mut output = Vec::new();
    for token in tokens {
        match token {
            // Braces cannot stand in a return type outside of brackets, so the first ones open the body.
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                return Ok((TokenStream::from_iter(output), body));
            }
            token if is_ident(&token, "where") => {
                return Err(Diagnostic::new(
                    token.span(),
                    format!(
                        "`#[divisi::{macro_name}]` calls `{name}` itself: it takes no `where` clause"
                    ),
                ));
            }
            token => output.push(token),
        }
    }
    Err(Diagnostic::new(
        name.span(),
        format!("`#[divisi::{macro_name}]` runs the body of `{name}`: it has none"),
    ))
}

pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == name)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}
