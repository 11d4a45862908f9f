//! A partner disputes a line of its statement: the amount is taken out of what is paid, the rest settles, and what is decided is posted as an adjustment.

mod bounds;
pub mod filing;
mod outcomes;
