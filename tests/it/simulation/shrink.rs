//! Makes what fails smaller: fewer stories, then fewer messages.

use super::story::Story;

/// How often it is tried.
const TRIES: usize = 150;

/// The smallest stories found that still fail, and how.
pub fn smallest(stories: Vec<Story>, why: String, fails: impl Fn(&[Story]) -> Option<String>) -> (Vec<Story>, String) {
    let (mut stories, mut why, mut tries) = (stories, why, 0);
    let mut attempt = |smaller: Vec<Story>, stories: &mut Vec<Story>, why: &mut String| {
        tries += 1;
        let failure = if tries > TRIES || smaller.is_empty() {
            None
        } else {
            fails(&smaller)
        };
        let Some(failure) = failure else { return false };
        (*stories, *why) = (smaller, failure);
        true
    };
    while stories.len() > 1 {
        let half = stories.len() / 2;
        let (front, back) = (stories[..half].to_vec(), stories[half..].to_vec());
        if !attempt(front, &mut stories, &mut why) && !attempt(back, &mut stories, &mut why) {
            break;
        }
    }
    let mut size = stories.iter().map(|story| story.steps.len()).max().unwrap_or(0).div_ceil(2);
    while size > 0 && stories.len() == 1 {
        let mut from = 0;
        while from < stories[0].steps.len() {
            let mut smaller = stories.clone();
            let upto = (from + size).min(smaller[0].steps.len());
            smaller[0].steps.drain(from..upto);
            if !attempt(smaller, &mut stories, &mut why) {
                from = upto;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    (stories, why)
}
