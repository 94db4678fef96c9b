# mysqlclient has no wheels for Linux. PyMySQL is pure Python and takes its place.
import pymysql

pymysql.install_as_MySQLdb()
