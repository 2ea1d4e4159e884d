//! Tests of the whole: `flow` sends messages through all services as a person starts them, `fuzz` tries decoders on hostile octets, `tidy` holds the rules of the
//! source tree. Nothing here is part of the product.

#[cfg(test)]
mod flow;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tidy;
