//! Lanes by name.

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use crate::gate::root;

/// A kind of long run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Seeds of the simulated world with real cryptography.
    Real,
    /// Seeds of the simulated world with the fast stand-in.
    Fast,
    /// The model, exhaustively.
    Model,
    /// One fuzz target.
    Fuzz(String),
    /// All crash points.
    Kill,
    /// One world with very many steps.
    Soak,
}

impl Lane {
    /// All lanes; there is one for each corpus under `fuzz/corpus`.
    ///
    /// # Errors
    /// [`Error::File`] if the corpora cannot be listed.
    pub fn all() -> Result<Vec<Self>, Error> {
        let mut lanes = vec![Self::Model, Self::Kill, Self::Real, Self::Fast, Self::Soak];
        lanes.extend(targets()?.into_iter().map(Self::Fuzz));
        Ok(lanes)
    }

    /// What the seed runner is asked to play; nothing if the lane is not one of seeds.
    pub(super) fn world(&self) -> &'static [&'static str] {
        match self {
            Self::Real => &["--crypto", "real", "--profile", "eight"],
            Self::Fast => &["--crypto", "stand-in", "--profile", "wide"],
            Self::Soak => &["--crypto", "stand-in", "--profile", "long"],
            Self::Model | Self::Fuzz(_) | Self::Kill => &[],
        }
    }

    /// The share of the time that it gets beside others.
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Real => 4,
            Self::Fast => 3,
            _ => 1,
        }
    }
}

/// Names of the fuzz targets.
fn targets() -> Result<Vec<String>, Error> {
    let corpora = root().join("fuzz").join("corpus");
    let Ok(listed) = std::fs::read_dir(&corpora) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(Error::file(&corpora))?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Fast => f.write_str("fast"),
            Self::Model => f.write_str("model"),
            Self::Fuzz(target) => write!(f, "fuzz-{target}"),
            Self::Kill => f.write_str("kill"),
            Self::Soak => f.write_str("soak"),
        }
    }
}

impl FromStr for Lane {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "real" => Ok(Self::Real),
            "fast" => Ok(Self::Fast),
            "model" => Ok(Self::Model),
            "kill" => Ok(Self::Kill),
            "soak" => Ok(Self::Soak),
            _ => match name.strip_prefix("fuzz-") {
                Some(target) if !target.is_empty() => Ok(Self::Fuzz(target.to_owned())),
                _ => Err(Error::UnknownLane(name.to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lane;

    #[test]
    fn lanes_are_written_as_they_are_read() {
        for name in ["real", "fast", "model", "fuzz-frames", "kill", "soak"] {
            assert_eq!(name.parse::<Lane>().ok().map(|lane| lane.to_string()).as_deref(), Some(name));
        }
        for name in ["", "fuzz", "fuzz-", "Real"] {
            assert!(name.parse::<Lane>().is_err(), "{name}");
        }
    }
}
