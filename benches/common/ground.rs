//! The options of every benchmark: which programs it measures, on which databases, and where.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::common::database::Engine;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer/peer.mjs");

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Program {
    /// This project's server.
    Bookbell,
    /// What a Node team would write instead.
    Peer,
}

impl Program {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookbell => "bookbell",
            Self::Peer => "peer",
        }
    }
}

/// The options of every benchmark.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ground {
    /// The databases; without --postgres only sqlite.
    #[arg(long, value_enum, value_delimiter = ',')]
    engine: Vec<Engine>,
    /// A Postgres server and a role that may create databases there.
    #[arg(
        long,
        value_name = "URL",
        env = "BOOKBELL_TEST_POSTGRES",
        hide_env_values = true
    )]
    #[serde(skip)]
    pub(crate) postgres: Option<String>,
    /// Where databases are made; the temporary folder when not given.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Another program to measure, with the same command line and HTTP.
    #[arg(long, value_name = "PROGRAM", default_value = option_env!("CARGO_BIN_EXE_bookbell"))]
    server: PathBuf,
    /// Measures a second program in turn with it, and shows ratios; benches/peer when none is
    /// named.
    #[arg(long, value_name = "PROGRAM", num_args = 0..=1, default_missing_value = PEER)]
    peer: Option<PathBuf>,
    /// Where to write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    #[serde(skip)]
    bench: bool,
}

impl Ground {
    /// Where databases are made.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The databases to measure on.
    pub(crate) fn engines(&self) -> Vec<Engine> {
        match (self.engine.as_slice(), &self.postgres) {
            ([], None) => vec![Engine::Sqlite],
            ([], Some(_)) => vec![Engine::Sqlite, Engine::Postgres],
            (chosen, _) => chosen.to_vec(),
        }
    }

    /// The programs to measure, in turn.
    ///
    /// # Errors
    /// When the peer's packages are not installed.
    pub(crate) fn programs(&self) -> anyhow::Result<Vec<Program>> {
        let Some(peer) = &self.peer else {
            return Ok(vec![Program::Bookbell]);
        };
        let packages = Path::new(PEER).with_file_name("node_modules");
        ensure!(
            peer != Path::new(PEER) || packages.exists(),
            "the peer needs its packages first: npm ci --prefix benches/peer"
        );
        Ok(vec![Program::Bookbell, Program::Peer])
    }

    /// Where a program is.
    pub(crate) fn path_of(&self, program: Program) -> &Path {
        match (program, &self.peer) {
            (Program::Peer, Some(peer)) => peer,
            _ => &self.server,
        }
    }
}
