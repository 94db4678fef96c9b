//! "Did you mean": the known word nearest to one that is not known.
//!
//! The distance counts inserted, removed, replaced and swapped letters (optimal string
//! alignment), without regard to case. A word may differ in a third of its letters, at least in
//! one; further away any suggestion would be a guess, and a wrong one is worse than none.
//!
//! Start reading at [`nearest`].

/// Longer words are never compared: the cost is the product of both lengths.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if one is near enough; the first of several equally near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = letters(word)?;
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let Some(known) = letters(candidate) else { continue };
        let far = distance(&wanted, &known);
        let allowed = (wanted.len().max(known.len()) / 3).max(1);
        // A word of one letter is one replacement away from every other such word.
        let related = far < wanted.len().max(known.len());
        if far <= allowed && related && best.is_none_or(|(nearest, _)| far < nearest) {
            best = Some((far, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The word's lower-case letters, or `None` when it is empty or too long to compare.
fn letters(word: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = word.chars().take(LONGEST + 1).flat_map(char::to_lowercase).collect();
    (1..=LONGEST).contains(&letters.len()).then_some(letters)
}

/// Insertions, removals, replacements and swaps of neighbours that turn `from` into `to`.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let replaced = above[j] + usize::from(letter != other);
            let mut least = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["processes", "services", "formation", "health", "web"];
        for (word, meant) in [
            ("procesess", "processes"),
            ("service", "services"),
            ("SERVICES", "services"),
            ("helath", "health"),
            ("wbe", "web"),
            ("formations", "formation"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_far_from_all_gets_no_suggestion() {
        for word in ["", "x", "database", "h", "webhooks", &"a".repeat(10_000)] {
            assert_eq!(nearest(word, ["processes", "services", "web", "y"]), None, "{word}");
        }
    }

    #[test]
    fn the_nearest_of_several_wins_and_then_the_first() {
        assert_eq!(nearest("pyton", ["pylon", "python"]), Some("pylon"));
        assert_eq!(nearest("pythn", ["pyth", "pythons", "python"]), Some("pyth"));
        assert_eq!(nearest("healt", ["heart", "health"]), Some("heart"));
        assert_eq!(nearest("servics", ["servers", "services"]), Some("services"));
    }

    #[test]
    fn a_swap_of_neighbours_counts_once() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&chars("ab"), &chars("ba")), 1);
        assert_eq!(distance(&chars("kitten"), &chars("sitting")), 3);
        assert_eq!(distance(&chars(""), &chars("abc")), 3);
    }
}
