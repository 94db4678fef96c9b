from datetime import timedelta

from django.test import SimpleTestCase
from django.utils import timezone

from blog.models import Comment, Tag
from blog.templatetags.prose import prose

from .base import BlogTestCase


class ListTest(BlogTestCase):
    def test_list_has_pages(self):
        for number in range(8):
            self.post(f"Post {number}")
        first, second = self.client.get("/"), self.client.get("/?page=2")
        self.assertContains(first, "Page 1 of 2")
        self.assertContains(first, "Post 7")
        self.assertNotContains(first, "Post 0")
        self.assertContains(second, "Post 0")

    def test_an_odd_page_number_is_no_error(self):
        self.assertEqual(self.client.get("/?page=x").status_code, 200)

    def test_drafts_and_future_posts_are_not_listed(self):
        self.post("Hidden draft", draft=True)
        self.post("From tomorrow", published=timezone.now() + timedelta(days=1))
        page = self.client.get("/")
        self.assertNotContains(page, "Hidden draft")
        self.assertNotContains(page, "From tomorrow")

    def test_tag_page_lists_its_posts_and_counts_comments(self):
        tag, other = (Tag.objects.create(name=n, slug=n) for n in ("sea", "hill"))
        tagged, _ = self.post("With tag"), self.post("Without")
        tagged.tags.add(tag, other)
        for _ in range(2):
            Comment.objects.create(post=tagged, author=self.ada, body="Hm")
        page = self.client.get("/tags/sea/")
        self.assertContains(page, "With tag")
        self.assertContains(page, "2&nbsp;comments")
        self.assertNotContains(page, "Without")
        self.assertEqual(self.client.get("/tags/none/").status_code, 404)

    def test_the_number_of_queries_does_not_grow_with_the_posts(self):
        for number in range(5):
            self.post(f"Post {number}")
        with self.assertNumQueries(3):  # count, posts, tags
            self.client.get("/")


class PostTest(BlogTestCase):
    def test_page_shows_the_text_and_the_comments(self):
        post = self.post(body="## Why\n\nBecause <b>.")
        Comment.objects.create(post=post, author=self.ada, body="Well said")
        page = self.client.get(post.get_absolute_url())
        self.assertContains(page, "<h2>Why</h2>")
        self.assertContains(page, "Because &lt;b&gt;.")
        self.assertContains(page, "Well said")
        self.assertContains(page, "Log in</a> to leave a comment")

    def test_a_draft_is_for_its_author_alone(self):
        url = self.post(draft=True).get_absolute_url()
        self.assertEqual(self.client.get(url).status_code, 404)
        self.client.force_login(self.ada)
        self.assertContains(self.client.get(url), "draft")

    def test_comment_needs_a_login(self):
        post = self.post()
        answer = self.client.post(post.get_absolute_url(), {"body": "Hello"})
        self.assertRedirects(answer, f"/accounts/login/?next={post.get_absolute_url()}")
        self.assertEqual(Comment.objects.count(), 0)

    def test_comment_is_stored(self):
        post = self.post()
        self.client.force_login(self.ada)
        answer = self.client.post(post.get_absolute_url(), {"body": "Hello"})
        comment = Comment.objects.get()
        self.assertEqual((comment.post, comment.author), (post, self.ada))
        self.assertRedirects(answer, comment.get_absolute_url())

    def test_equal_titles_get_different_slugs(self):
        self.assertNotEqual(self.post().slug, self.post().slug)


class ProseTest(SimpleTestCase):
    def test_blocks(self):
        html = prose("One\r\ntwo\r\n\r\n- a\r\n- b\r\n\r\n> said\r\n\r\n\r\n\r\n")
        self.assertHTMLEqual(
            html,
            "<p>One two</p><ul><li>a</li><li>b</li></ul><blockquote>said</blockquote>",
        )

    def test_everything_is_escaped(self):
        for text in ("<script>", "## <script>", "- <script>", "> <script>"):
            self.assertNotIn("<script>", prose(text))

    def test_addresses_become_links(self):
        self.assertIn('<a href="https://example.org/"', prose("https://example.org/"))
