//! The words of dozen: names, images, releases, formations, route tables, log segments.
//!
//! Every other crate speaks in these types. A string that came from outside is parsed here,
//! once, into a type that cannot hold a bad value; past that border nobody checks again.
//!
//! This crate does no I/O and reads no environment: it is data and parsing only.
//!
//! Start reading at [`names`], then [`image`] and [`route_table`].

#![forbid(unsafe_code)]

pub mod address_range;
pub mod certificates;
pub mod command_line;
pub mod digest;
pub mod dotenv;
pub mod error_pages;
mod excerpt;
pub mod formation;
pub mod hint;
pub mod image;
pub mod manifest;
pub mod names;
pub mod printable;
pub mod procfile;
pub mod release;
pub mod route_policy;
pub mod route_table;
pub mod segment;
pub mod suggestion;
