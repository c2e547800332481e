//! The control connection against callers that say what no caller should: each is told what was wrong, keeps its
//! connection, leaves no descriptor in the daemon, and disturbs nobody else.

mod floods;
mod ids;
mod messages;
