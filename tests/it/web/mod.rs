//! The web door, as browsers and curl use it.

mod calls;
mod content;
mod errors;
mod events;
mod http;
mod pages;
mod seed;
