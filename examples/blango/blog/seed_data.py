"""What the seed command writes. (title, tags, picture, picture in words,
summary, body), the newest post first."""

POSTS = [
    (
        "The first hour belongs to the hills",
        ["walking", "morning"],
        ("hills", "dawn"),
        "A pale sun over rows of rose-coloured hills.",
        "Why I leave the house before the kettle has cooled, and what the path "
        "gives back.",
        """There is an hour when the hills have not yet decided on a colour. Grey \
first, then a kind of rose that no paint shop sells, then all at once the green \
they wear for the rest of the day. If you want to see them choose, you have to be \
there before breakfast.

I used to think of a walk as something with an end: a summit, a lake, a bench with \
a view. These days I only set the time at which I turn round. It is a small change \
and it takes all the hurry out of the way.

## What to bring

- A jacket that is one layer too warm.
- Something to eat that does not crumble.
- No music. The birds are working for nothing.

> A path is a habit that many people have had.

On the way back the village wakes up house by house. Someone shakes a cloth out of \
a window; the baker's van coughs twice and starts. By then I have been up for two \
hours and feel, unfairly, that the day is mine.""",
    ),
    (
        "Learning to sail by being slow",
        ["water", "craft"],
        ("sea", "noon"),
        "A small white boat on a calm green sea.",
        "A light wind teaches more than a strong one. Notes from a week of going "
        "almost nowhere.",
        """On the first day there was so little wind that we could have read the \
newspaper on deck and not lost a page. I was disappointed. Our teacher was not. \
"Today you will feel everything," she said, and she was right.

In a strong wind a boat forgives. It goes, whatever you do. In a light one it \
tells you of each mistake: a sail too tight, a hand too eager, a weight on the \
wrong side. You learn to move like someone in a house where a child sleeps.

## The three questions

Where is the wind? Where is it going to be? What do I do if I am wrong? We asked \
them aloud until they became a kind of breathing.

By Friday we had covered a distance that a cyclist does before lunch. I have \
seldom come so far.""",
    ),
    (
        "Every roof is a small argument",
        ["town", "craft"],
        ("town", "dusk"),
        "Dark gables against a red evening sky.",
        "Rain, snow, light and the neighbours: a roof has to settle with all four.",
        """Look up in an old street and you will see a discussion that has been \
going on for four hundred years. The steep roof says: snow. The flat one says: \
that was long ago. The dormer says: but we need the room.

A roofer once told me that he can date a house by where the water goes. Before a \
certain year it falls on the street. After it, somebody complained.

> Build as if the rain had a good lawyer.

In the evening, when the details go dark, only the outlines are left and the \
argument is over. Then a town looks as if it had been drawn with a single line.""",
    ),
    (
        "How to look at a dark sky",
        ["night", "walking"],
        ("hills", "night"),
        "A full moon and stars above dark blue hills.",
        "You need no telescope. You need twenty minutes, and to put the phone away.",
        """Eyes are slow in one direction only. They get used to light in seconds, \
and to the dark in about twenty minutes. Most of us never wait that long, and so \
most of us have never used them fully.

Take a blanket. Lie down: a neck that bends back gets tired before the eyes are \
ready. Count the stars in one small patch, wait, and count again. The second \
number is the reward.

- New moon is best, and a half moon is friendly.
- A red lamp spares your eyes; a white one starts the clock again.
- Clouds pass. Stay for one more than seems sensible.

After an hour the sky stops being a ceiling and turns into a distance. It is the \
cheapest journey I know.""",
    ),
    (
        "Fog, and other ways to see less",
        ["water", "morning"],
        ("sea", "fog"),
        "A white sun over a grey sea with a little boat.",
        "When the far shore is gone, the near one gets interesting.",
        """The fog came in at seven and took the far shore first. Then the buoys, \
then the end of the pier. What was left was about the size of a living room, and I \
looked at it as one looks at a room: properly.

There was a rope with three kinds of green on it. There was a heron that had \
believed itself alone. There was the sound of an engine, from everywhere.

I have tried since then to take some fog along. One street at a time, one page, \
one voice on the telephone. It works better than I like to admit.""",
    ),
    (
        "A bread that takes three days",
        ["craft", "morning"],
        ("hills", "autumn"),
        "Golden and brown hills under a mild sky.",
        "Flour, water, salt and the rest of the week. The recipe is short and the "
        "waiting is the work.",
        """Day one: stir a spoon of starter into flour and water, and go away. Day \
two: add the rest, fold it four times, and go away again. Day three: shape it, heat \
the oven until the kitchen complains, and bake.

That is all. Everything else that is written about bread is about how to go away.

## What the three days do

The dough gets sour, but not very. The crust gets thin and loud. And the loaf \
keeps: on day six it is still better than anything that was baked in an hour.

> Do not knead out of impatience. Time has the stronger arms.

If it fails, toast it. If it fails badly, there are always the ducks. (There are \
not; bread is bad for ducks. Make crumbs.)""",
    ),
    (
        "The last tram home",
        ["town", "night"],
        ("town", "night"),
        "A large moon over the roofs of a blue town.",
        "Seven people, one driver, and a rule that no one ever wrote down.",
        """The last tram leaves at twelve minutes to one, and it waits. Not \
officially: the timetable says nothing of it. But when someone comes running from \
the bridge, the driver finds that a door needs opening and closing again.

There are seldom more than seven of us. A cook, still smelling of onions. Two \
students who agree about everything. A man with a cello who buys no seat for it and \
apologises to it at each bend.

Nobody talks, and everybody nods when they get off. I have lived in towns with \
better trains. I have not lived in one that waits.""",
    ),
    (
        "Repair is a kind of reading",
        ["craft"],
        ("hills", "noon"),
        "Soft green hills and a bright sun.",
        "To mend a thing you have to understand what its maker meant.",
        """The radio was older than I am, and somebody had been there before me. \
One wire was of another colour. One screw had a different head. A repair is a note \
in the margin, and this one said: I did not have the right part either.

I like to work out the order in which a thing was put together, because it is the \
order in which it comes apart. Under the third screw there is nearly always a \
reason for the second.

It plays again, on one station. That is enough; it is a good station.""",
    ),
    (
        "Evening on the slow ferry",
        ["water", "night"],
        ("sea", "dusk"),
        "A sailing boat on a violet sea at sunset.",
        "There is a fast one too. It has no deck.",
        """The fast ferry needs forty minutes and shows a film. The slow one needs \
two hours and shows the sea. Both cost the same, which tells you something about \
prices.

On deck, people stand where the wind is least and talk to those who happen to \
stand there as well. I have heard a wedding speech rehearsed, a recipe defended, \
and the end of a book that I was going to read.

When the lights of the harbour come up, everyone grows quiet, as if a curtain had \
gone up. We have only arrived. But we have arrived slowly, and it shows.""",
    ),
]

COMMENTS = [
    "I read this on the train and missed my stop. No regrets.",
    "Tried it this weekend. You are right about the waiting.",
    "The picture alone made my morning. Thank you.",
    "I would have said the opposite last year. Now I am not so sure.",
    "More of this, please.",
]
