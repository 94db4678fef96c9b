from django.db import models


class Hit(models.Model):
    # Not unique: a request that is served twice must show up twice.
    uid = models.CharField(max_length=36, db_index=True)
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return self.uid
